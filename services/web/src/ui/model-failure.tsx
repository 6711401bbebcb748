/** Why a job failed: the reason in plain words, what helps, and the last lines that the trainer wrote. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { asApiError, isAbort } from "../api";
import type { JobLog, JobView } from "../contract";
import { texts } from "../texts";
import { Icon } from "./bits";
import { CopyButton } from "./copy";
import { usePage } from "./context";

// The room that the log will take is kept for it: nothing jumps when it comes.
const SHOWN_LINES = 12;
const LINE_REM = 1.302;
const PADDING_REM = 2;

export function Failure({ job }: { job: JobView }): JSX.Element {
  const { log, problem } = useLog(job);
  return (
    <div class="failure" data-testid="failure">
      <div class="reason tone-bad">
        <Icon name="alert" />
        <div>
          <p>
            <strong>{job.reason?.message ?? texts.model.failedUnknown}</strong>
          </p>
          {job.reason?.remedy != null && <p>{job.reason.remedy}</p>}
          <p class="muted small-text">
            {job.checkpoint === null ? texts.model.failedNothing : texts.model.failedKept(job.checkpoint.step)}
          </p>
        </div>
      </div>
      {problem !== null && <p class="field-error">{texts.model.logFailed(problem)}</p>}
      {job.log_lines > 0 && problem === null && (
        <details class="log" open>
          <summary>{texts.model.log(log?.attempt ?? job.attempt, job.log_lines)}</summary>
          {log !== null && <CopyButton text={log.lines.join("\n")} />}
          <pre
            tabIndex={0}
            style={{ minHeight: `${Math.min(job.log_lines, SHOWN_LINES) * LINE_REM + PADDING_REM}rem` }}
          >
            {log?.lines.join("\n")}
          </pre>
        </details>
      )}
    </div>
  );
}

function useLog(job: JobView): { log: JobLog | null; problem: string | null } {
  const { api } = usePage();
  const [log, setLog] = useState<JobLog | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const wanted = job.log_lines > 0;
  useEffect(() => {
    if (!wanted) return undefined;
    const request = new AbortController();
    api.log(job.id, request.signal).then(
      (answer) => {
        setLog(answer);
        setProblem(null);
      },
      (error: unknown) => {
        if (!isAbort(error)) setProblem(asApiError(error).message);
      },
    );
    return () => request.abort();
  }, [api, job.id, job.version, wanted]);
  return { log, problem };
}
