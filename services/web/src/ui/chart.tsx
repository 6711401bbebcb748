/** A line chart over steps: uPlot draws it, this gives it data, size, colours, keys and a legend that follows the pointer. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { metric, whole } from "../format";
import type { ChartData, Series } from "../series";
import { texts } from "../texts";
import { placeAfter, type Span, spanOf } from "../zoom";
import { useThemes } from "./context";

interface Props {
  title: string;
  hint?: string;
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
  /** A logarithmic value axis. */
  log?: boolean;
  /** The steps that are shown, null for all. */
  zoom?: Span | null;
  /** A part was chosen by dragging, or all of it by a double click. Without it, nothing can be. */
  onZoom?: (zoom: Span | null) => void;
  /** A step that is marked. */
  marked?: number | null;
  /** A click chose the step of that point. */
  onChoose?: (step: number) => void;
  height?: number;
}

interface Latest {
  table: uPlot.AlignedData;
  lastStep: number;
  off: ReadonlySet<string>;
  range: [number, number] | undefined;
  zoom: Span | null;
  onZoom: Props["onZoom"];
  marked: number | null;
  onChoose: Props["onChoose"];
}

const HEIGHT = 260;
const COLOURS = 5;
const NOWHERE = -10;
// The pointer's step is shown in every chart of the page.
const SYNC = uPlot.sync("steps");

export function Chart(props: Props): JSX.Element {
  const { title, hint, note, empty, data, lastStep, range, hidden = [], log = false, zoom = null, onZoom } = props;
  const { height = HEIGHT, marked = null, onChoose } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  const [off, setOff] = useState<ReadonlySet<string>>(() => new Set(hidden));
  const { dark } = useThemes();
  const keys = data.series.map((series) => series.key).join("\n");
  const table = useMemo<uPlot.AlignedData>(() => [data.steps, ...data.series.map((series) => series.values)], [data]);
  const latest = useRef<Latest>({ table, lastStep, off, range, zoom, onZoom, marked, onChoose });
  latest.current = { table, lastStep, off, range, zoom, onZoom, marked, onChoose };

  // A new drawing where series, theme or the axis change; new points alone only replace the data.
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const options = describe(element, data, { lastStep, log, height }, latest);
    options.hooks = {
      setCursor: [(drawn) => setPointed(drawn.cursor.idx ?? null)],
      setSelect: [(drawn) => select(drawn, latest.current)],
      drawAxes: [(drawn) => mark(drawn, latest.current.marked)],
      ready: [(drawn) => drawn.over.addEventListener("click", () => choose(drawn, latest.current.onChoose))],
    };
    const drawn = new uPlot(options, latest.current.table, element);
    plot.current = drawn;
    SYNC.sub(drawn);
    const watcher = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      SYNC.unsub(drawn);
      drawn.destroy();
      plot.current = null;
    };
  }, [keys, lastStep, dark, log, height]);

  useEffect(() => {
    plot.current?.setData(latest.current.table); // which looks at the ranges anew
  }, [zoom?.[0], zoom?.[1], lastStep]);

  useEffect(() => plot.current?.setData(table), [table]);

  useEffect(() => plot.current?.redraw(false), [marked]);

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
  const step = data.steps[shown];
  const walk = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const next = data.steps[placeAfter(event.key, data.steps, pointed, zoom ?? undefined) ?? -1];
    if (next === undefined) return;
    event.preventDefault();
    point(next);
  };
  // Arrow keys reach a slider also through a screen reader, which then says the new step and its values; an image has no keys.
  const keyed =
    step === undefined
      ? ({ role: "img" } as const)
      : ({
          role: "slider",
          tabIndex: 0,
          "aria-valuemin": data.steps[0],
          "aria-valuemax": data.steps.at(-1),
          "aria-valuenow": step,
          "aria-valuetext": [texts.model.atStep(step), ...valuesAt(data.series, off, shown)].join(", "),
          onKeyDown: walk,
          onBlur: () => point(null),
        } as const);
  return (
    <section class="card chart">
      <header>
        <h2>{title}</h2>
        {note !== undefined && <p class="muted">{note}</p>}
      </header>
      <div
        class={onChoose === undefined ? "plot-box" : "plot-box is-choosable"}
        style={{ height: `${height}px` }}
        onDblClick={() => onZoom?.(null)}
      >
        <div ref={box} class="plot" aria-label={texts.model.chartLabel(title, data.steps.length, summary)} {...keyed} />
        {data.steps.length === 0 && <p class="plot-empty">{empty}</p>}
      </div>
      <div class="legend">
        <span class="legend-step">
          {texts.model.step} <span class="number">{step === undefined ? texts.none : whole(step)}</span>
        </span>
        {data.series.map((series, index) => (
          <button
            type="button"
            key={series.key}
            class={`legend-item line-${colourOf(series, index)} ${series.dashed === true ? "is-dashed" : ""}`}
            aria-pressed={!off.has(series.key)}
            onClick={() => toggle(series.key)}
          >
            <span class="legend-mark" aria-hidden="true" />
            {series.name}
            <span class="number">{formatted(pointed === null ? lastOf(series.values) : series.values[shown])}</span>
          </button>
        ))}
      </div>
      {hint !== undefined && <p class="muted small-text">{hint}</p>}
    </section>
  );
}

function colourOf(series: Series, index: number): number {
  return ((series.line ?? index) % COLOURS) + 1;
}

/** What was dragged over becomes the part that is shown; a mere click is none. */
function select(drawn: uPlot, { lastStep, onZoom }: Latest): void {
  const { left, width } = drawn.select;
  if (onZoom === undefined || width < 6) return;
  onZoom(spanOf(drawn.posToVal(left, "x"), drawn.posToVal(left + width, "x"), lastStep));
  drawn.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

/** The point under the pointer is the one that is chosen. */
function choose(drawn: uPlot, onChoose: Props["onChoose"]): void {
  const step = drawn.data[0][drawn.cursor.idx ?? -1];
  if (step !== undefined) onChoose?.(step);
}

/** Moves the line that follows the pointer, in every chart of the page; null takes it away. */
function point(step: number | null): void {
  for (const drawn of SYNC.plots) {
    drawn.setCursor({ left: step === null ? NOWHERE : drawn.valToPos(step, "x"), top: NOWHERE });
  }
}

/** A line at the marked step, behind the curves. */
function mark(drawn: uPlot, step: number | null): void {
  if (step === null) return;
  const { top, height } = drawn.bbox;
  const x = Math.round(drawn.valToPos(step, "x", true));
  const { ctx } = drawn;
  ctx.save();
  ctx.strokeStyle = colourIn(drawn.root, "--accent");
  ctx.globalAlpha = 0.5;
  ctx.lineWidth = 2 * uPlot.pxRatio;
  ctx.beginPath();
  ctx.moveTo(x, top);
  ctx.lineTo(x, top + height);
  ctx.stroke();
  ctx.restore();
}

function describe(
  element: HTMLElement,
  data: ChartData,
  { lastStep, log, height }: { lastStep: number; log: boolean; height: number },
  latest: { readonly current: Latest },
): uPlot.Options {
  const color = (name: string) => colourIn(element, name);
  const font = `12px ${getComputedStyle(element).fontFamily}`;
  const axis = { stroke: color("--muted"), font, ticks: { show: false }, grid: { stroke: color("--grid"), width: 1 } };
  const y: uPlot.Scale = log
    ? { distr: 3 }
    : {
        range: (_, lowest, highest) => latest.current.range ?? [Math.min(0, lowest), highest > 0 ? highest * 1.08 : 1],
      };
  return {
    width: element.clientWidth,
    height,
    padding: [10, 22, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: SYNC.key, setSeries: false },
      drag: { x: latest.current.onZoom !== undefined, y: false, setScale: false },
      points: { size: 8 },
    },
    scales: {
      x: { time: false, range: () => [...(latest.current.zoom ?? [0, Math.max(1, lastStep)])] as [number, number] },
      y,
    },
    axes: [
      { ...axis, size: 30, values: (_, splits) => splits.map((step) => whole(step)) },
      {
        ...axis,
        size: 52,
        values: (_, splits) => splits.map((value) => (value === null ? "" : String(Number(value.toPrecision(3))))),
      },
    ],
    series: [
      {},
      ...data.series.map((series, index): uPlot.Series => ({
        label: series.name,
        show: !latest.current.off.has(series.key),
        stroke: color(`--line-${colourOf(series, index)}`),
        width: index === 0 ? 2.5 : 1.75,
        spanGaps: true,
        points: { show: data.steps.length <= 40, size: 5, fill: color(`--line-${colourOf(series, index)}`) },
        ...(series.dashed === true ? { dash: [6, 4] } : {}),
      })),
    ],
  };
}

/** A colour of the styles, as a canvas takes it: what light-dark() says is known of a property in use alone. */
function colourIn(element: HTMLElement, name: string): string {
  element.style.color = `var(${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = "";
  return color;
}

function lastOf(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

/** "Training 0.5120", "Evaluation 0.6001": what is shown at a place of the steps. */
function valuesAt(series: readonly Series[], off: ReadonlySet<string>, place: number): string[] {
  const shown = series.filter(({ key }) => !off.has(key));
  return shown.map(({ name, values }) => `${name} ${formatted(values[place])}`);
}

function formatted(value: number | null | undefined): string {
  return value === null || value === undefined ? texts.none : metric(value);
}
