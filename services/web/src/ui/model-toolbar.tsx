/** What can be done with the selected models; each action says why it can't be done now. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import {
  approveRefusal,
  deleteRefusal,
  downloadRefusal,
  jointRefusal,
  moreRefusal,
  type Refusal,
  retryRefusal,
  roleRefusal,
  stopConsequence,
  stopRefusal,
} from "../actions";
import { type JobView, TERMINAL } from "../contract";
import { size } from "../format";
import { childrenOf } from "../lineage";
import { hashOf } from "../route";
import { texts } from "../texts";
import { Button, Confirm, Icon } from "./bits";
import { approveModel, deleteModel, retryModel, stopModel } from "./commands";
import { usePage, useView } from "./context";

/** `onPage`: on a model's own page, of that model; what makes no sense for it is left out. */
export function ModelToolbar({
  selected,
  onPage = false,
}: {
  selected: readonly JobView[];
  onPage?: boolean;
}): JSX.Element {
  const page = usePage();
  const models = useView((view) => view.state.models);
  const [asked, setAsked] = useState<"stop" | "delete" | null>(null);
  const role = page.session?.role;
  const viewer = roleRefusal(role);
  const [first] = selected;
  const joint = (refuse: (job: JobView) => Refusal, one = false) =>
    viewer !== null && first !== undefined ? viewer : jointRefusal(selected, refuse, { one });
  const each = (act: (job: JobView) => Promise<unknown>) => () => void Promise.all(selected.map(act));
  // On its own page a model offers what its state can be asked for; in the list all is in its place, always.
  const state = onPage ? first?.state : undefined;
  const ended = state !== undefined && TERMINAL.has(state);
  const offers = {
    more: state === undefined || (ended && first?.checkpoint !== null),
    stop: state === undefined || !ended,
    retry: state === undefined,
    approve: state === undefined && selected.some((job) => approveRefusal(job, "mentor") === null),
  };
  const remove = async (job: JobView) => {
    if ((await deleteModel(page, job)) && onPage) location.hash = hashOf({ page: "models" });
  };
  return (
    <div
      class={onPage ? "action-row" : first === undefined ? "toolbar is-idle" : "toolbar"}
      role="toolbar"
      aria-label={texts.models.actions}
    >
      {offers.more && (
        <Button
          icon="more"
          class={onPage ? "" : "primary"}
          refusal={joint(moreRefusal, true)}
          data-testid="more-button"
          onClick={() => {
            if (first !== undefined) location.hash = hashOf({ page: "start", datasets: [], more: first.id });
          }}
        >
          {texts.models.more}
        </Button>
      )}
      {state !== "TRY_AGAIN_LATER" && <Download selected={selected} />}
      {offers.stop && (
        <Button icon="square" refusal={joint(stopRefusal)} data-testid="stop-button" onClick={() => setAsked("stop")}>
          {texts.models.stop}
        </Button>
      )}
      {offers.retry && (
        <Button
          icon="again"
          refusal={joint(retryRefusal)}
          data-testid="retry-button"
          onClick={each((job) => retryModel(page, job, job.when_room))}
        >
          {texts.models.retry}
        </Button>
      )}
      {offers.approve && (
        <Button
          icon="check"
          refusal={joint((job) => approveRefusal(job, role))}
          data-testid="approve-button"
          onClick={each((job) => approveModel(page, job))}
        >
          {texts.models.approve}
        </Button>
      )}
      <Button
        icon="trash"
        refusal={joint((job) => deleteRefusal(job, childrenOf(models, job.id)))}
        data-testid="delete-button"
        onClick={() => setAsked("delete")}
      >
        {texts.models.delete}
      </Button>
      {!onPage && (
        <p class="toolbar-note grow" aria-live="polite">
          {selected.length === 0 ? texts.models.selectHint : texts.models.selected(selected.length)}
        </p>
      )}
      {asked === "stop" && first !== undefined && (
        <Confirm
          title={texts.models.stopTitle(selected.map((job) => job.description))}
          text={[...new Set(selected.map(stopConsequence))].join(" ")}
          action={texts.models.stop}
          keep={texts.models.stopKeep}
          onConfirm={each((job) => stopModel(page, job))}
          onClose={() => setAsked(null)}
        />
      )}
      {asked === "delete" && first !== undefined && (
        <Confirm
          title={texts.models.deleteTitle(selected.map((job) => job.description))}
          text={texts.models.deleteText}
          action={texts.models.delete}
          danger
          onConfirm={each(remove)}
          onClose={() => setAsked(null)}
        />
      )}
    </div>
  );
}

/** The first file that was exported: the safe choice. The model's page has them all. */
function Download({ selected }: { selected: readonly JobView[] }): JSX.Element {
  const { api } = usePage();
  const refusal = jointRefusal(selected, downloadRefusal, { one: true });
  const [job] = selected;
  const file = job?.export?.files[0];
  if (refusal !== null || job === undefined || file === undefined) {
    return (
      <Button icon="download" refusal={refusal} data-testid="download-disabled">
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
