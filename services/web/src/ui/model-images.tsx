/** Evaluation pictures of a model with what is there and what it found at each checkpoint, and how the two compare. */
import type { JSX } from "preact";
import { useCallback, useMemo, useState } from "preact/hooks";
import "../styles/images.css";
import { chosenOf, nearest, nextCheckpoint, type Predicted, predicted } from "../checkpoints";
import { looksOf } from "../colours";
import { type JobView, type MetricPoint, TERMINAL } from "../contract";
import { type Cell, confusionOf, judgeAll, labelsOf, shows, worstFirst } from "../matching";
import { MAP, MAP_50, precisionChart } from "../series";
import { texts } from "../texts";
import { Button, Waiting } from "./bits";
import { Chart } from "./chart";
import { useProgress, usePage } from "./context";
import { useFetched } from "./fetched";
import { Grid, type View } from "./images-grid";
import { Large } from "./images-large";
import { LabelTable, Matrix } from "./images-matrix";
import { type Order, Tools } from "./images-tools";
import { usePredictions } from "./predictions";
import { useStartingModels } from "./start-data";

const USUAL_THRESHOLD = 0.5;

interface Props {
  job: JobView;
  points: readonly MetricPoint[];
  problem: string | null;
  onRetry: () => void;
}

export function Images({ job, points, problem, onRetry }: Props): JSX.Element {
  const kept = useMemo(() => predicted(points), [points]);
  const latest = kept.at(-1);
  if (latest !== undefined) return <Gallery job={job} points={points} kept={kept} latest={latest} />;
  if (points.length === 0 && job.checkpoint !== null) {
    return (
      <section class="card">
        {problem === null ? (
          <Waiting rows={8} />
        ) : (
          <Failed message={texts.model.metricsFailed(problem)} onRetry={onRetry} />
        )}
      </section>
    );
  }
  return <NoneYet job={job} />;
}

function NoneYet({ job }: { job: JobView }): JSX.Element {
  const progress = useProgress(job.id);
  const { data: offer } = useStartingModels(job.train_frames);
  return (
    <section class="card empty" data-testid="no-pictures">
      <p>{sentence()}</p>
    </section>
  );

  function sentence(): string {
    if (TERMINAL.has(job.state)) return job.checkpoint === null ? texts.images.never : texts.images.before;
    if (offer === null) return texts.images.dueSoon;
    const { step, seconds } = nextCheckpoint(job, progress, offer.limits.checkpoint_every);
    return job.checkpoint === null ? texts.images.due(step, seconds) : texts.images.dueNext(step, seconds);
  }
}

function Failed({ message, onRetry }: { message: string; onRetry: () => void }): JSX.Element {
  return (
    <div class="page-error" role="alert">
      <p>{message}</p>
      <Button icon="again" onClick={onRetry}>
        {texts.model.retry}
      </Button>
    </div>
  );
}

interface GalleryProps {
  job: JobView;
  points: readonly MetricPoint[];
  kept: readonly Predicted[];
  latest: Predicted;
}

function Gallery({ job, points, kept, latest }: GalleryProps): JSX.Element {
  const { api } = usePage();
  /** Null follows the latest. */
  const [step, setStep] = useState<number | null>(null);
  const [threshold, setThreshold] = useState(USUAL_THRESHOLD);
  const [view, setView] = useState<View>("beside");
  const [order, setOrder] = useState<Order>("worst");
  const [cell, setCell] = useState<Cell | null>(null);
  /** The pictures to go through, in the order of when one was opened: what is enlarged doesn't move under the reader. */
  const [opened, setOpened] = useState<{ numbers: readonly number[]; number: number } | null>(null);

  const point = chosenOf(kept, step) ?? latest;
  const choose = (wanted: number) => {
    const found = nearest(kept, wanted);
    if (found !== undefined) setStep(found === latest ? null : found.step);
  };
  const pictures = useFetched(
    (signal) => api.evaluationPictures(job.id, signal),
    `${job.id} ${latest.predictions.pictures}`,
  );
  const predictions = usePredictions(job.id, point);
  const { shown, stale } = predictions;

  const labels = useMemo(
    () => labelsOf(job.labels, pictures.data ?? [], shown?.pictures ?? []),
    [job.labels, pictures.data, shown],
  );
  const looks = useMemo(() => looksOf(labels), [labels]);
  const judged = useMemo(
    () => (pictures.data === null || shown === null ? null : judgeAll(pictures.data, shown.pictures, threshold)),
    [pictures.data, shown, threshold],
  );
  const confusion = useMemo(() => (judged === null ? null : confusionOf(judged, labels)), [judged, labels]);
  const listed = useMemo(() => {
    const chosen = (judged ?? []).filter((each) => cell === null || shows(each, cell));
    return order === "worst" ? worstFirst(chosen) : chosen;
  }, [judged, cell, order]);
  const chart = useMemo(() => precisionChart(points, [MAP_50, MAP]), [points]);

  const open = useCallback(
    (number: number) => setOpened({ numbers: listed.map((each) => each.picture.number), number }),
    [listed],
  );
  const current = judged?.find((each) => each.picture.number === opened?.number);
  const checkpoints = { kept, point, follows: step === null, onChoose: choose };
  const score = { threshold, onThreshold: setThreshold };
  const appearance = { view, onView: setView };
  const drawn = { jobId: job.id, looks, view };
  return (
    <>
      <Tools {...checkpoints} {...score} {...appearance} order={order} onOrder={setOrder} />
      {predictions.problem !== null && (
        <section class="card">
          <Failed message={texts.images.failed(predictions.problem)} onRetry={predictions.again} />
        </section>
      )}
      <div class="columns even image-figures">
        <Chart
          title={texts.images.precision}
          hint={texts.images.precisionHint}
          empty=""
          data={chart}
          lastStep={job.steps_requested}
          range={[0, 1]}
          marked={point.step}
          onChoose={choose}
        />
        <section class="card" aria-busy={stale}>
          {confusion === null || shown === null ? (
            <Waiting rows={6} />
          ) : (
            <>
              <Matrix confusion={confusion} pictures={judged?.length ?? 0} chosen={cell} onChoose={setCell} />
              <LabelTable confusion={confusion} point={chosenOf(kept, shown.step) ?? point} looks={looks} />
            </>
          )}
        </section>
      </div>
      {pictures.problem !== null && pictures.data === null ? (
        <section class="card">
          <Failed message={texts.images.picturesFailed(pictures.problem)} onRetry={pictures.again} />
        </section>
      ) : judged === null ? (
        <section class="card">
          <Waiting rows={8} />
        </section>
      ) : (
        <Grid
          {...drawn}
          judged={listed}
          all={judged.length}
          busy={stale}
          cell={cell}
          onShowAll={() => setCell(null)}
          onOpen={open}
        />
      )}
      {opened !== null && current !== undefined && (
        <Large
          {...drawn}
          {...checkpoints}
          {...score}
          {...appearance}
          judged={current}
          numbers={opened.numbers}
          onGo={(number) => setOpened({ ...opened, number })}
          onClose={() => setOpened(null)}
        />
      )}
    </>
  );
}
