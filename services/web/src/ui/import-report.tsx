/** What an import read, what it skipped and why. */
import type { JSX } from "preact";
import type { DatasetView, ImportReport } from "../contract";
import { texts } from "../texts";

interface Props {
  dataset: DatasetView;
  report: ImportReport;
  /** Where the warnings stand elsewhere, they aren't said twice. */
  warnings: boolean;
}

export function ImportSummary({ dataset, report, warnings }: Props): JSX.Element {
  const unlisted = report.skipped_total - report.skipped.length;
  return (
    <>
      <p>{texts.upload.read(report.read.pictures ?? 0, report.boxes, dataset.train_frames, dataset.eval_frames)}</p>
      {report.look_alike_groups > 0 && (
        <p class="muted small-text">{texts.dataset.lookAlikes(report.look_alike_groups)}</p>
      )}
      {report.ignored > 0 && <p class="muted small-text">{texts.dataset.ignored(report.ignored)}</p>}
      {warnings && report.warnings.length > 0 && (
        <details open>
          <summary class="warn-text">{texts.upload.warnings(report.warnings.length)}</summary>
          <ul>
            {report.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </details>
      )}
      {report.skipped_total > 0 && (
        <details data-testid="skipped">
          <summary class="warn-text">{texts.upload.skipped(report.skipped_total)}</summary>
          <table class="plain-table">
            <thead>
              <tr>
                <th scope="col">{texts.upload.file}</th>
                <th scope="col">{texts.upload.reason}</th>
              </tr>
            </thead>
            <tbody>
              {report.skipped.map((skipped) => (
                <tr key={skipped.file}>
                  <td class="breaks">{skipped.file}</td>
                  <td>{skipped.reason}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {unlisted > 0 && <p class="muted">{texts.upload.andMore(unlisted)}</p>}
        </details>
      )}
    </>
  );
}
