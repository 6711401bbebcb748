/** What can be done about TRY_AGAIN_LATER, where it stands: try now, start when there is room, approve. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { approveRefusal, roleRefusal } from "../actions";
import type { JobView } from "../contract";
import { texts } from "../texts";
import { Button } from "./bits";
import { approveModel, retryModel, stopModel } from "./commands";
import { usePage } from "./context";

export function TryAgain({ job }: { job: JobView }): JSX.Element | null {
  const page = usePage();
  // What was pressed, until the server's answer is here: where it refuses, the box must not go on saying otherwise.
  const [wanted, setWanted] = useState<boolean | null>(null);
  useEffect(() => setWanted(null), [job.version]);
  const keepTrying = async (whenRoom: boolean) => {
    setWanted(whenRoom);
    // Not tried once more: whoever takes the tick away doesn't want it to start.
    const taken = whenRoom ? retryModel(page, job, true) : stopModel(page, job);
    if (!(await taken)) setWanted(null);
  };
  if (job.state !== "TRY_AGAIN_LATER") return null;
  const refusal = roleRefusal(page.session?.role);
  const approvable = approveRefusal(job, page.session?.role) === null;
  return (
    <div class="again-row">
      {approvable && (
        <Button icon="check" data-testid="approve" class="small" onClick={() => void approveModel(page, job)}>
          {texts.models.approve}
        </Button>
      )}
      <Button
        icon="again"
        class="small"
        refusal={refusal}
        data-testid="try-again"
        aria-label={texts.models.tryAgainLabel(job.description)}
        onClick={() => void retryModel(page, job, job.when_room)}
      >
        {texts.models.tryAgain}
      </Button>
      <label class="check-line small-text">
        <input
          type="checkbox"
          data-testid="start-when-room"
          checked={wanted ?? job.when_room}
          disabled={refusal !== null}
          onChange={(event) => void keepTrying(event.currentTarget.checked)}
        />
        <span>{texts.models.whenRoom}</span>
      </label>
    </div>
  );
}
