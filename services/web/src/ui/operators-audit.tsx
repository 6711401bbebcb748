/** What operators and mentors did, newest first. */
import type { JSX } from "preact";
import { clock } from "../format";
import { texts } from "../texts";
import { Empty, Problem, Waiting } from "./bits";
import { useArrivals, usePage } from "./context";
import { useFollowed } from "./fetched";

const SHOWN = 200;
const EVERY_MS = 5_000;

export function AuditTab(): JSX.Element {
  const { api, ticker } = usePage();
  const arrivals = useArrivals();
  const { data, problem, since, again } = useFollowed((signal) => api.audit(SHOWN, signal), arrivals, EVERY_MS);
  return (
    <>
      <Problem problem={problem} since={since} onRetry={again} />
      <section class="card" data-testid="audit">
        {data === null ? (
          <Waiting rows={4} />
        ) : data.entries.length === 0 ? (
          <Empty title={texts.operators.auditEmpty}>{null}</Empty>
        ) : (
          <div class="scroll-x" role="region" aria-label={texts.operators.tabs.audit} tabIndex={0}>
            <table class="table compact">
              <thead>
                <tr>
                  <th scope="col">{texts.operators.at}</th>
                  <th scope="col">{texts.operators.by}</th>
                  <th scope="col">{texts.operators.act}</th>
                  <th scope="col">{texts.operators.target}</th>
                  <th scope="col">{texts.operators.details}</th>
                  <th scope="col">{texts.operators.outcome}</th>
                </tr>
              </thead>
              <tbody>
                {data.entries.map((entry) => (
                  <tr key={entry.id}>
                    <td class="number nowrap">{clock(entry.at, ticker.now())}</td>
                    <td>{entry.by}</td>
                    <th scope="row">{entry.act}</th>
                    <td class="breaks">{entry.target}</td>
                    <td class="muted small-text breaks">{detailsOf(entry.details)}</td>
                    <td>{entry.outcome}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
    </>
  );
}

function detailsOf(details: Record<string, unknown>): string {
  return Object.entries(details)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
}
