/** The Team page: the minutes as a statement, what is reserved just now, the people; and the queue of the whole room. */
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { isMentor } from "../actions";
import type { LedgerEntry, Reservation, TeamAnswer, TeamView } from "../contract";
import { date, minutes, signedMinutes } from "../format";
import { hashOf, TEAM_TABS, type TeamTab } from "../route";
import { texts } from "../texts";
import { Announcements } from "./announcements";
import { Icon, StateBadge, Problem, Waiting } from "./bits";
import { carryOut } from "./commands";
import { useNow, usePage, useView } from "./context";
import { useFetched } from "./fetched";
import { TabBar } from "./tabs";
import { Members } from "./team-members";
import { RoomQueue } from "./team-queue";
import { Tokens } from "./team-tokens";

export function TeamPage({ tab }: { tab: TeamTab }): JSX.Element {
  const page = usePage();
  const { api, live } = page;
  const team = useView((view) => view.state.team);
  return (
    <>
      <div class="page-head split">
        <div>
          <h1>{team === null ? texts.team.title : texts.team.of(team)}</h1>
          <p class="muted">{texts.team.intro}</p>
        </div>
        <button
          type="button"
          class="button"
          data-testid="sign-out"
          onClick={() =>
            void carryOut(page, async () => {
              await api.signOut();
              live.restart();
            })
          }
        >
          {texts.signIn.out}
        </button>
      </div>
      <TabBar
        label={texts.team.title}
        tabs={TEAM_TABS.map((each) => ({
          key: each,
          name: texts.team.tabs[each],
          href: hashOf({ page: "team", tab: each }),
        }))}
        current={tab}
      />
      <Announcements />
      {tab === "queue" ? <RoomQueue /> : <MinutesTab />}
    </>
  );
}

function MinutesTab(): JSX.Element {
  const { api, session } = usePage();
  // Changes with the minutes, and when somebody changed the team's people or tokens.
  const version = useView((view) => `${view.state.minutes?.version} ${view.state.snapshots}`);
  const { data, problem, since, again, put } = useFetched((signal) => api.team(signal), version);
  return (
    <>
      <Problem problem={problem} since={since} onRetry={again} />
      {data === null ? (
        <section class="card">
          <Waiting rows={5} />
        </section>
      ) : (
        <>
          {data.pause !== null && <Closed pause={data.pause} />}
          <Balance team={data.team} />
          <div class="columns">
            <Statement ledger={data.ledger} />
            <div class="column">
              {data.reservations.length > 0 && <Reservations reservations={data.reservations} />}
              <Members answer={data} mentor={isMentor(session?.role)} onChanged={again} onTeam={put} />
              <Tokens key={session?.name} version={version} />
            </div>
          </div>
        </>
      )}
    </>
  );
}

function Closed({ pause }: { pause: NonNullable<TeamAnswer["pause"]> }): JSX.Element {
  const now = useNow();
  return (
    <p class="note tone-warn" data-testid="pause">
      <Icon name="clock" />
      <span>{texts.team.closed(pause, now)}</span>
    </p>
  );
}

function Balance({ team }: { team: TeamView }): JSX.Element {
  const share = (seconds: number) => `${team.granted_seconds > 0 ? (100 * seconds) / team.granted_seconds : 0}%`;
  const parts = [
    { key: "used", name: texts.team.used, seconds: team.used_seconds },
    { key: "reserved", name: texts.team.reserved, seconds: team.reserved_seconds },
    { key: "left", name: texts.team.left, seconds: team.balance_seconds },
  ];
  return (
    <section class="card balance" aria-label={texts.team.balance}>
      <dl class="figures plain-figures">
        <div class="figure">
          <dt>{texts.team.granted}</dt>
          <dd class="big number">{minutes(team.granted_seconds)}</dd>
        </div>
        {parts.map((part) => (
          <div class="figure" key={part.key}>
            <dt>
              <span class={`swatch is-${part.key}`} aria-hidden="true" /> {part.name}
            </dt>
            <dd class="big number" data-testid={`team-${part.key}`}>
              {minutes(part.seconds)}
            </dd>
          </div>
        ))}
      </dl>
      <div class="balance-bar" aria-hidden="true">
        {parts.map((part) => (
          <span key={part.key} class={`is-${part.key}`} style={{ width: share(Math.max(0, part.seconds)) }} />
        ))}
      </div>
    </section>
  );
}

interface Line extends LedgerEntry {
  balance: number;
}

/** Newest first, with the balance after each line. */
function withBalance(ledger: readonly LedgerEntry[]): Line[] {
  let balance = 0;
  return ledger.map((line) => ({ ...line, balance: (balance += line.seconds) })).reverse();
}

function Statement({ ledger }: { ledger: readonly LedgerEntry[] }): JSX.Element {
  const { api } = usePage();
  const models = useView((view) => view.state.models);
  const lines = useMemo(() => withBalance(ledger), [ledger]);
  const { columns } = texts.team;
  return (
    <section class="card pad" aria-label={texts.team.statement}>
      <header class="split">
        <h2>{texts.team.statement}</h2>
        <a class="button small" href={api.ledgerUrl()} download data-testid="ledger-csv">
          <Icon name="download" />
          {texts.team.csv}
        </a>
      </header>
      <div class="scroll-x">
        <table class="plain-table statement" data-testid="ledger">
          <thead>
            <tr>
              <th scope="col">{columns.at}</th>
              <th scope="col">{columns.what}</th>
              <th scope="col" class="num">
                {columns.minutes}
              </th>
              <th scope="col" class="num">
                {columns.balance}
              </th>
            </tr>
          </thead>
          <tbody>
            {lines.map((line, index) => {
              const job = line.job_id === null ? undefined : models.get(line.job_id);
              return (
                <tr key={lines.length - index}>
                  <td class="nowrap number">{date(line.at)}</td>
                  <td>
                    {texts.team.kinds[line.kind]}
                    {job !== undefined && (
                      <>
                        {" · "}
                        <a href={hashOf({ page: "model", id: job.id, tab: "details" })}>{job.description}</a>
                      </>
                    )}
                    {line.note !== "" && <span class="muted small-text below">{line.note}</span>}
                  </td>
                  <td class={line.seconds > 0 ? "num gives" : "num"}>{signedMinutes(line.seconds)}</td>
                  <td class="num">{signedMinutes(line.balance, "")}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Reservations({ reservations }: { reservations: readonly Reservation[] }): JSX.Element {
  return (
    <section class="card pad">
      <h2>{texts.team.reservations}</h2>
      <p class="muted small-text">{texts.team.reservationsHint}</p>
      <table class="plain-table">
        <tbody>
          {reservations.map((each) => (
            <tr key={each.job_id}>
              <th scope="row">
                <a href={hashOf({ page: "model", id: each.job_id, tab: "details" })}>{each.description}</a>
              </th>
              <td>
                <StateBadge state={each.state} />
              </td>
              <td class="num">{signedMinutes(each.seconds, "")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
