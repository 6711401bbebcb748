/** A line chart over steps: uPlot draws it, this gives it data, size, colours and a legend that follows the pointer. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { metric, whole } from "../format";
import type { ChartData } from "../series";
import { texts } from "../texts";

interface Props {
  title: string;
  hint: string;
  note?: string | undefined;
  /** What stands in place of the curves while there are none. */
  empty: string;
  data: ChartData;
  /** The right end of the step axis, so that the curve grows into its place. */
  lastStep: number;
  /** Fixed ends of the value axis; without it, from zero to the largest value that is shown. */
  range?: [number, number];
  /** Series that are hidden until someone asks for them. */
  hidden?: readonly string[];
}

const HEIGHT = 260;
// The pointer's step is shown in every chart of the page.
const SYNC = uPlot.sync("steps");

export function Chart({ title, hint, note, empty, data, lastStep, range, hidden = [] }: Props): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  const [off, setOff] = useState<ReadonlySet<string>>(() => new Set(hidden));
  const scheme = useColorScheme();
  const keys = data.series.map((series) => series.key).join("\n");
  const table = useMemo<uPlot.AlignedData>(() => [data.steps, ...data.series.map((series) => series.values)], [data]);
  const latest = useRef({ table, off, range });
  latest.current = { table, off, range };

  // A new drawing where series, scheme or the axis change; new points alone only replace the data.
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const options = describe(element, data, lastStep, latest.current);
    options.hooks = { setCursor: [(drawn) => setPointed(drawn.cursor.idx ?? null)] };
    const drawn = new uPlot(options, latest.current.table, element);
    plot.current = drawn;
    SYNC.sub(drawn);
    const watcher = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: HEIGHT }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      SYNC.unsub(drawn);
      drawn.destroy();
      plot.current = null;
    };
  }, [keys, lastStep, scheme]);

  useEffect(() => plot.current?.setData(table), [table]);

  useEffect(() => {
    data.series.forEach((series, index) => plot.current?.setSeries(index + 1, { show: !off.has(series.key) }));
  }, [off]);

  const toggle = (key: string) => {
    const next = new Set(off);
    if (!next.delete(key)) next.add(key);
    setOff(next);
  };
  const shown = pointed !== null && pointed < data.steps.length ? pointed : data.steps.length - 1;
  const summary = data.series.map((series) => `${series.name} ${formatted(lastOf(series.values))}`).join(", ");
  return (
    <section class="card chart">
      <header>
        <h2>{title}</h2>
        {note !== undefined && <p class="muted">{note}</p>}
      </header>
      <div class="plot-box">
        <div ref={box} class="plot" role="img" aria-label={texts.model.chartLabel(title, data.steps.length, summary)} />
        {data.steps.length === 0 && <p class="plot-empty">{empty}</p>}
      </div>
      <div class="legend">
        <span class="legend-step">
          {texts.model.step} <span class="number">{shown >= 0 ? whole(data.steps[shown] ?? 0) : texts.none}</span>
        </span>
        {data.series.map((series, index) => (
          <button
            type="button"
            key={series.key}
            class={`legend-item line-${index + 1} ${series.dashed === true ? "is-dashed" : ""}`}
            aria-pressed={!off.has(series.key)}
            onClick={() => toggle(series.key)}
          >
            <span class="legend-mark" aria-hidden="true" />
            {series.name}
            <span class="number">{formatted(pointed === null ? lastOf(series.values) : series.values[shown])}</span>
          </button>
        ))}
      </div>
      <p class="muted small-text">{hint}</p>
    </section>
  );
}

function describe(
  element: HTMLElement,
  data: ChartData,
  lastStep: number,
  latest: { off: ReadonlySet<string>; range: [number, number] | undefined },
): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const font = `12px ${style.fontFamily}`;
  const axis = { stroke: color("--muted"), font, ticks: { show: false }, grid: { stroke: color("--grid"), width: 1 } };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [10, 22, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: SYNC.key, setSeries: false }, drag: { x: false, y: false }, points: { size: 8 } },
    scales: {
      x: { time: false, range: [0, Math.max(1, lastStep)] },
      y: { range: (_, __, highest) => latest.range ?? [0, highest > 0 ? highest * 1.08 : 1] },
    },
    axes: [
      { ...axis, size: 30, values: (_, splits) => splits.map((step) => whole(step)) },
      { ...axis, size: 52, values: (_, splits) => splits.map((value) => String(Number(value.toPrecision(3)))) },
    ],
    series: [
      {},
      ...data.series.map((series, index): uPlot.Series => ({
        label: series.name,
        show: !latest.off.has(series.key),
        stroke: color(`--line-${index + 1}`),
        width: index === 0 ? 2.5 : 1.75,
        spanGaps: true,
        points: { show: data.steps.length <= 40, size: 5, fill: color(`--line-${index + 1}`) },
        ...(series.dashed === true ? { dash: [6, 4] } : {}),
      })),
    ],
  };
}

function useColorScheme(): boolean {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, [query]);
  return dark;
}

function lastOf(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

function formatted(value: number | null | undefined): string {
  return value === null || value === undefined ? texts.none : metric(value);
}
