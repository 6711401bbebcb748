/** Trainers with what they hold, how full the room was, and letting one save its jobs and end. */
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { CapacityPoint, TrainerRow } from "../contract";
import { clock, size, whole } from "../format";
import { texts } from "../texts";
import { Button, Confirm, Empty, Problem, StateBadge, Waiting } from "./bits";
import { carryOut } from "./commands";
import { useArrivals, useNow, usePage, useRoomVersion } from "./context";
import { useFollowed } from "./fetched";

/** What they hold moves with the room; that one falls silent tells nobody. */
const EVERY_MS = 5_000;
const CAPACITY_EVERY_MS = 60_000;
const HOURS = 12;
const NO_POINTS: readonly CapacityPoint[] = [];

export function TrainersTab(): JSX.Element {
  const page = usePage();
  const trainers = useFollowed((signal) => page.api.trainers(signal), useRoomVersion(), EVERY_MS);
  const capacity = useFollowed((signal) => page.api.capacity(HOURS, signal), useArrivals(), CAPACITY_EVERY_MS);
  const { data, problem, since, again } = trainers;
  const [draining, setDraining] = useState<TrainerRow | null>(null);
  return (
    <>
      <Problem problem={problem} since={since} onRetry={again} />
      <Problem problem={problem === null ? capacity.problem : null} since={capacity.since} onRetry={capacity.again} />
      <Capacity points={capacity.data?.points ?? NO_POINTS} />
      <section class="card" data-testid="trainers">
        {data === null ? (
          <Waiting rows={3} />
        ) : data.trainers.length === 0 ? (
          <Empty title={texts.operators.noTrainers}>
            <p>{texts.operators.noTrainersHint}</p>
          </Empty>
        ) : (
          <div class="scroll-x">
            <table class="table compact">
              <thead>
                <tr>
                  <th scope="col">{texts.operators.trainer}</th>
                  <th scope="col">{texts.operators.status}</th>
                  <th scope="col">{texts.operators.machine}</th>
                  <th scope="col">{texts.operators.holds}</th>
                  <th scope="col">{texts.operators.seen}</th>
                  <td />
                </tr>
              </thead>
              <tbody>
                {data.trainers.map((trainer) => (
                  <Row key={trainer.id} trainer={trainer} onDrain={() => setDraining(trainer)} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
      {draining !== null && (
        <Confirm
          title={texts.operators.drainTitle(draining.id)}
          text={texts.operators.drainText(draining.jobs.length)}
          action={texts.operators.drain}
          danger
          onConfirm={() =>
            void carryOut(page, async () => {
              await page.api.drain(draining.id);
              again();
            })
          }
          onClose={() => setDraining(null)}
        />
      )}
    </>
  );
}

const TONES: Record<TrainerRow["status"], string> = {
  live: "tone-good",
  draining: "tone-warn",
  silent: "tone-bad",
  gone: "tone-plain",
};

function Row({ trainer, onDrain }: { trainer: TrainerRow; onDrain: () => void }): JSX.Element {
  const now = useNow();
  const refusal = trainer.status === "live" ? null : texts.operators.drainOnlyLive;
  return (
    <tr data-testid="trainer-row">
      <th scope="row">
        {trainer.id}
        <span class="muted small-text below">
          {Object.entries(trainer.labels)
            .map(([name, value]) => `${name}=${value}`)
            .join(" ")}
        </span>
      </th>
      <td>
        <span class={`badge ${TONES[trainer.status]}`}>{texts.operators.statuses[trainer.status]}</span>
      </td>
      <td>
        {trainer.accelerator.toUpperCase()} · {trainer.device}
        <span class="muted small-text below">
          {texts.operators.memory(size(trainer.memory_bytes))}
          {trainer.utilization !== null && ` · ${texts.operators.load(trainer.utilization)}`}
        </span>
      </td>
      <td>
        <span class="number">{texts.operators.slots(trainer.jobs.length, trainer.slots)}</span>
        {trainer.jobs.map((job) => (
          <span key={job.job_id} class="held">
            <StateBadge state={job.state} /> {job.team} · {job.description}{" "}
            <span class="muted number">
              {whole(job.steps_completed)} {texts.models.stepsOf(job.steps_requested)}
            </span>
          </span>
        ))}
      </td>
      <td class="number nowrap">{clock(trainer.seen_at, now)}</td>
      <td class="num">
        <Button refusal={refusal} onClick={onDrain} data-testid="drain">
          {texts.operators.drain}
        </Button>
      </td>
    </tr>
  );
}

/** Slots and busy ones over the last hours, as two steps in one small drawing. */
function Capacity({ points }: { points: readonly CapacityPoint[] }): JSX.Element {
  const shapes = useMemo(() => areas(points), [points]);
  const last = points.at(-1);
  return (
    <section class="card pad capacity">
      <header class="split">
        <h2>{texts.operators.capacity(HOURS)}</h2>
        <p class="muted number">
          {last === undefined ? "\u00a0" : texts.operators.capacityNow(last.busy, last.slots, last.waiting)}
        </p>
      </header>
      <svg viewBox="0 0 1000 80" preserveAspectRatio="none" role="img" aria-label={texts.operators.capacity(HOURS)}>
        <path class="slots" d={shapes.slots} />
        <path class="busy" d={shapes.busy} />
      </svg>
    </section>
  );
}

function areas(points: readonly CapacityPoint[]): { slots: string; busy: string } {
  if (points.length === 0) return { slots: "", busy: "" };
  const first = Date.parse(points[0]?.at ?? "");
  const span = Date.parse(points.at(-1)?.at ?? "") - first;
  const highest = Math.max(1, ...points.map((point) => point.slots));
  const x = (point: CapacityPoint) => ((1000 * (Date.parse(point.at) - first)) / Math.max(1, span)).toFixed(1);
  const path = (value: (point: CapacityPoint) => number) =>
    `M0 80${points.map((point) => `L${x(point)} ${(78 - (74 * value(point)) / highest).toFixed(1)}`).join("")}H1000V80Z`;
  return { slots: path((point) => point.slots), busy: path((point) => point.busy) };
}
