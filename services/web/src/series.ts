/** The points of the charts, from checkpoints and the newest progress. Pure. */
import type { MetricPoint, Progress } from "./contract";
import { LOCALE } from "./locale";
import { texts } from "./texts";

export interface Series {
  key: string;
  name: string;
  /** Missing where a point has no such value. */
  values: (number | null)[];
  dashed?: boolean;
  /** The number of its colour, from 0; without one, its place. */
  line?: number;
}

export interface ChartData {
  steps: number[];
  series: Series[];
}

export const MAP = "DetectionBoxes_Precision/mAP";
export const MAP_50 = "DetectionBoxes_Precision/mAP@.50IOU";
export const MAP_75 = "DetectionBoxes_Precision/mAP@.75IOU";
const LABEL_MAP = "DetectionBoxes_PerformanceByCategory/mAP/";
const TOTAL_LOSS = "Loss/total_loss";
const LOSSES = [TOTAL_LOSS, "Loss/classification_loss", "Loss/localization_loss", "Loss/regularization_loss"] as const;
const PRECISIONS = [MAP_50, MAP, MAP_75] as const;

/** Checkpoints in the order of their steps. */
export function inOrder(points: ReadonlyMap<number, MetricPoint> | undefined): MetricPoint[] {
  return [...(points?.values() ?? [])].sort((a, b) => a.step - b.step);
}

/** The losses at each checkpoint and, while steps are being made, now. */
export function lossChart(points: readonly MetricPoint[], progress: Progress | undefined): ChartData {
  const now = progress !== undefined && progress.step > (points.at(-1)?.step ?? 0) ? progress : undefined;
  const training = LOSSES.map((name): Series => {
    const values = points.map((point) => point.training[name] ?? null);
    return { key: name, name: texts.model.series[name], values: now ? [...values, now.losses[name] ?? null] : values };
  });
  const evaluation = points.map((point) => point.evaluation[TOTAL_LOSS] ?? null);
  return {
    steps: [...points.map((point) => point.step), ...(now ? [now.step] : [])],
    series: [
      ...training,
      {
        key: "evaluation",
        name: texts.model.series.evaluation,
        values: now ? [...evaluation, null] : evaluation,
        dashed: true,
      },
    ],
  };
}

/** The average precisions at each checkpoint; -1 (nothing to find) is no point. */
export function precisionChart(points: readonly MetricPoint[], names: readonly string[] = PRECISIONS): ChartData {
  const value = (point: MetricPoint, name: string) => {
    const found = point.evaluation[name];
    return found === undefined || found < 0 ? null : found;
  };
  return {
    steps: points.map((point) => point.step),
    series: names.map((name) => ({
      key: name,
      name: name.slice(name.indexOf("/") + 1),
      values: points.map((point) => value(point, name)),
    })),
  };
}

/** The label whose average precision a metric is, null for all other metrics. */
export function labelOf(metric: string): string | null {
  return metric.startsWith(LABEL_MAP) ? metric.slice(LABEL_MAP.length) : null;
}

/** The average precision of one label on all evaluation pictures, null where it isn't known or there was nothing to find. */
export function labelPrecision(point: MetricPoint, label: string): number | null {
  const value = point.evaluation[LABEL_MAP + label];
  return value === undefined || value < 0 ? null : value;
}

/** Every metric's name that a pool's points have, losses and rates as they come, in a fixed order. */
export function metricNames(points: readonly MetricPoint[], pool: "training" | "evaluation"): string[] {
  const names = new Set(points.flatMap((point) => Object.keys(point[pool])));
  return [...names].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b, LOCALE));
}

function rank(name: string): number {
  const groups = [
    "DetectionBoxes_Precision/",
    LABEL_MAP,
    "DetectionBoxes_Recall/",
    "Loss/",
    "learning_rate",
    "steps_per_sec",
  ];
  const found = groups.findIndex((group) => name.startsWith(group));
  return found < 0 ? groups.length : found;
}
