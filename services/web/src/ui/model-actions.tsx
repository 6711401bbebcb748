/** What can be done with a model: stop, download, delete, try again; each says why it can't be done now. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { deleteRefusal, downloadRefusal, roleRefusal, stopConsequence, stopRefusal } from "../actions";
import { type JobView, TERMINAL } from "../contract";
import { size } from "../format";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Button, Confirm, Icon } from "./bits";
import { deleteModel, stopModel } from "./commands";
import { usePage } from "./context";

/** `onPage`: on the model's own page, which has room for words and is left when the model is deleted. */
export function ModelActions({ job, onPage = false }: { job: JobView; onPage?: boolean }): JSX.Element {
  const page = usePage();
  const [asked, setAsked] = useState<"stop" | "delete" | null>(null);
  const role = roleRefusal(page.session?.role);
  const ended = TERMINAL.has(job.state);
  const remove = async () => {
    if ((await deleteModel(page, job)) && onPage) location.hash = hashOf({ page: "models" });
  };
  return (
    <div class="action-row">
      {job.state === "TRY_AGAIN_LATER" && <TryAgain job={job} role={role} />}
      {!ended && (
        <Button
          icon="square"
          refusal={role ?? stopRefusal(job)}
          data-testid="stop-button"
          aria-label={texts.models.stopLabel(job.description)}
          onClick={() => setAsked("stop")}
        >
          {texts.models.stop}
        </Button>
      )}
      {job.state !== "TRY_AGAIN_LATER" && (ended || onPage) && <Download job={job} />}
      <Button
        class={onPage ? "" : "ghost square"}
        icon="trash"
        refusal={role ?? deleteRefusal(job)}
        data-testid="delete-button"
        aria-label={texts.models.deleteLabel(job.description)}
        onClick={() => setAsked("delete")}
      >
        {onPage ? texts.models.delete : null}
      </Button>
      {asked === "stop" && (
        <Confirm
          title={texts.models.stopTitle(job.description)}
          text={stopConsequence(job)}
          action={texts.models.stop}
          keep={texts.models.stopKeep}
          onConfirm={() => void stopModel(page, job)}
          onClose={() => setAsked(null)}
        />
      )}
      {asked === "delete" && (
        <Confirm
          title={texts.models.deleteTitle(job.description)}
          text={texts.models.deleteText}
          action={texts.models.delete}
          danger
          onConfirm={() => void remove()}
          onClose={() => setAsked(null)}
        />
      )}
    </div>
  );
}

/** The first file that was exported: the safe choice. The model's page has them all. */
function Download({ job }: { job: JobView }): JSX.Element {
  const { api } = usePage();
  const file = job.export?.files[0];
  if (file === undefined) {
    return (
      <Button icon="download" refusal={downloadRefusal(job)} data-testid="download-disabled">
        {texts.models.download}
      </Button>
    );
  }
  return (
    <a
      class="button"
      href={api.downloadUrl(job.id, file.format)}
      download
      data-testid="download-link"
      aria-label={texts.models.downloadLabel(job.description, file.format)}
      title={`${file.name} · ${size(file.bytes)}`}
    >
      <Icon name="download" />
      {texts.models.download}
    </a>
  );
}

function TryAgain({ job, role }: { job: JobView; role: string | null }): JSX.Element {
  const { startTraining, view } = usePage();
  const gone = job.dataset_ids.some((id) => !view.state.datasets.has(id));
  return (
    <Button
      icon="again"
      refusal={role ?? (gone ? texts.models.tryAgainGone : null)}
      data-testid="try-again"
      onClick={() => startTraining({ datasetIds: job.dataset_ids, from: job })}
    >
      {texts.models.tryAgain}
    </Button>
  );
}
