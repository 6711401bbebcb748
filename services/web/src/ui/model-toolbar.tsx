/** What can be done with the selected models; each action says why it can't be done now. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
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

/** A question that is open, and the models that it names. */
interface Asked {
  act: "stop" | "delete";
  ids: readonly string[];
}

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
  const [asked, setAsked] = useState<Asked | null>(null);
  const role = page.session?.role;
  const viewer = roleRefusal(role);
  const [first] = selected;
  const ask = (act: Asked["act"]) => setAsked({ act, ids: selected.map((job) => job.id) });
  const refused = { stop: stopRefusal, delete: (job: JobView) => deleteRefusal(job, childrenOf(models, job.id)) };
  // About those that the question named, whatever is selected by now; what has ended or gone meanwhile drops out.
  const about = (asked?.ids ?? [])
    .map((id) => models.get(id))
    .filter((job) => job !== undefined)
    .filter((job) => asked !== null && refused[asked.act](job) === null);
  const pointless = asked !== null && about.length === 0;
  useEffect(() => {
    if (pointless) setAsked(null);
  }, [pointless]);
  const joint = (refuse: (job: JobView) => Refusal, one = false) =>
    viewer !== null && first !== undefined ? viewer : jointRefusal(selected, refuse, { one });
  const each = (jobs: readonly JobView[], act: (job: JobView) => Promise<unknown>) => () =>
    void Promise.all(jobs.map(act));
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
        <Button icon="square" refusal={joint(refused.stop)} data-testid="stop-button" onClick={() => ask("stop")}>
          {texts.models.stop}
        </Button>
      )}
      {offers.retry && (
        <Button
          icon="again"
          refusal={joint(retryRefusal)}
          data-testid="retry-button"
          onClick={each(selected, (job) => retryModel(page, job, job.when_room))}
        >
          {texts.models.retry}
        </Button>
      )}
      {offers.approve && (
        <Button
          icon="check"
          refusal={joint((job) => approveRefusal(job, role))}
          data-testid="approve-button"
          onClick={each(selected, (job) => approveModel(page, job))}
        >
          {texts.models.approve}
        </Button>
      )}
      <Button icon="trash" refusal={joint(refused.delete)} data-testid="delete-button" onClick={() => ask("delete")}>
        {texts.models.delete}
      </Button>
      {!onPage && (
        <p class="toolbar-note grow" aria-live="polite">
          {selected.length === 0 ? texts.models.selectHint : texts.models.selected(selected.length)}
        </p>
      )}
      {asked?.act === "stop" && !pointless && (
        <Confirm
          title={texts.models.stopTitle(about.map((job) => job.description))}
          text={[...new Set(about.map(stopConsequence))].join(" ")}
          action={texts.models.stop}
          keep={texts.models.stopKeep}
          onConfirm={each(about, (job) => stopModel(page, job))}
          onClose={() => setAsked(null)}
        />
      )}
      {asked?.act === "delete" && !pointless && (
        <Confirm
          title={texts.models.deleteTitle(about.map((job) => job.description))}
          text={texts.models.deleteText}
          action={texts.models.delete}
          danger
          onConfirm={each(about, remove)}
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
