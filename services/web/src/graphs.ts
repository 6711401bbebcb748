/** All metrics of one or several models as lines to draw or to write into a file. Pure. */
import type { MetricPoint } from "./contract";
import type { ChartData, Series } from "./series";
import { labelOf, metricNames } from "./series";
import { texts } from "./texts";

export interface Source {
  id: string;
  name: string;
  points: readonly MetricPoint[];
}

export type Group = "precision" | "label" | "recall" | "loss" | "rate";

export interface Graph extends ChartData {
  /** The metric's name, as ftc-ml gives it. */
  name: string;
  title: string;
  group: Group;
}

const POOLS = ["training", "evaluation"] as const;

/** A graph for each metric that any of the models has; in it a line for each model and pool that has it. */
export function graphsOf(sources: readonly Source[], smoothing: number): Graph[] {
  const all = sources.flatMap((source) => source.points);
  const names = new Set([...metricNames(all, "evaluation"), ...metricNames(all, "training")]);
  const graphs = [...names].map((name) => graphOf(name, sources, smoothing));
  return graphs.filter((graph) => graph.steps.length > 0);
}

function graphOf(name: string, sources: readonly Source[], smoothing: number): Graph {
  const lines: { series: Omit<Series, "values">; values: Map<number, number> }[] = [];
  sources.forEach((source, index) => {
    for (const pool of POOLS) {
      const values = new Map<number, number>();
      for (const point of source.points) {
        const value = point[pool][name];
        // -1 is COCO's "nothing to measure", which no other value can be.
        if (value !== undefined && value !== -1) values.set(point.step, value);
      }
      if (values.size === 0) continue;
      const series = {
        key: `${source.id} ${pool}`,
        name: sources.length > 1 ? `${source.name} · ${texts.model[pool]}` : texts.model[pool],
        line: sources.length > 1 ? index : lines.length,
        dashed: pool === "evaluation" && lines.length > 0,
      };
      lines.push({ series, values });
    }
  });
  const steps = [...new Set(lines.flatMap(({ values }) => [...values.keys()]))].sort((a, b) => a - b);
  const series = lines.map((line) => ({
    ...line.series,
    values: smoothed(
      steps.map((step) => line.values.get(step) ?? null),
      smoothing,
    ),
  }));
  return { name, title: labelOf(name) ?? name.slice(name.indexOf("/") + 1), group: groupOf(name), steps, series };
}

function groupOf(name: string): Group {
  if (name.startsWith("DetectionBoxes_Precision/")) return "precision";
  if (labelOf(name) !== null) return "label";
  if (name.startsWith("DetectionBoxes_Recall/")) return "recall";
  return name.startsWith("Loss/") ? "loss" : "rate";
}

/**
 * An exponential moving average, without the pull towards zero at its beginning: `weight` (0 to below 1) is what is kept of
 * what was. Gaps stay gaps.
 */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  if (weight <= 0) return [...values];
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

/** One line a checkpoint, all metrics of both pools: for a spreadsheet. */
export function csvOf(sources: readonly Source[]): string {
  const all = sources.flatMap((source) => source.points);
  const columns = POOLS.flatMap((pool) => metricNames(all, pool).map((name) => ({ pool, name })));
  const head = ["model", "step", "saved_at", "stepping_seconds", ...columns.map(({ pool, name }) => `${pool} ${name}`)];
  const rows = sources.flatMap(({ name, points }) =>
    points.map((point) => [
      plain(name),
      point.step,
      point.saved_at,
      point.stepping_seconds,
      ...columns.map((column) => point[column.pool][column.name] ?? ""),
    ]),
  );
  return [head, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
}

/** Text that no spreadsheet takes for a formula. */
function plain(text: string): string {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function quoted(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
