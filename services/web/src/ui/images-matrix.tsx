/** The confusion matrix of the evaluation pictures, whose cells choose pictures, and the figures of each label. */
import type { JSX } from "preact";
import { lookOf, type Looks } from "../colours";
import type { MetricPoint } from "../contract";
import { precision, whole } from "../format";
import { type Cell, type Confusion, figuresOf } from "../matching";
import { labelPrecision } from "../series";
import { texts } from "../texts";
import { Swatch } from "./boxes";

interface MatrixProps {
  confusion: Confusion;
  pictures: number;
  chosen: Cell | null;
  onChoose: (cell: Cell | null) => void;
}

export function Matrix({ confusion, pictures, chosen, onChoose }: MatrixProps): JSX.Element {
  const kinds: (string | null)[] = [...confusion.labels, null];
  const highest = Math.max(1, ...confusion.counts.flat());
  return (
    <>
      <h2>{texts.images.matrix}</h2>
      <p class="muted small-text">{texts.images.matrixHint(pictures)}</p>
      <div class="scroll-x" role="region" aria-label={texts.images.matrix} tabIndex={0}>
        <table class="matrix" data-testid="matrix">
          <thead>
            <tr>
              <td />
              <th scope="colgroup" colSpan={kinds.length}>
                {texts.images.matrixFound}
              </th>
            </tr>
            <tr>
              <th scope="col">{texts.images.matrixTrue}</th>
              {kinds.map((found) => (
                <th scope="col" key={found ?? ""} class={found === null ? "is-background" : ""}>
                  {found ?? texts.images.nothing}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {kinds.map((truth, row) => (
              <tr key={truth ?? ""}>
                <th scope="row" class={truth === null ? "is-background" : ""}>
                  {truth ?? texts.images.background}
                </th>
                {kinds.map((found, column) => (
                  <td key={found ?? ""}>
                    <Count
                      cell={{ truth, found }}
                      count={confusion.counts[row]?.[column] ?? 0}
                      highest={highest}
                      chosen={chosen}
                      onChoose={onChoose}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

interface CountProps {
  cell: Cell;
  count: number;
  highest: number;
  chosen: Cell | null;
  onChoose: (cell: Cell | null) => void;
}

function Count({ cell, count, highest, chosen, onChoose }: CountProps): JSX.Element {
  // Nothing there and nothing found can't be counted.
  if (cell.truth === null && cell.found === null) return <span class="matrix-none">{texts.none}</span>;
  const pressed = chosen !== null && chosen.truth === cell.truth && chosen.found === cell.found;
  // One that was chosen stays reachable when its count falls to zero.
  if (count === 0 && !pressed) return <span class="matrix-none">0</span>;
  return (
    <button
      type="button"
      class={cell.truth === cell.found ? "matrix-count is-right" : "matrix-count is-error"}
      style={{ "--share": `${Math.round(14 + 46 * (count / highest))}%` }}
      aria-pressed={pressed}
      aria-label={texts.images.cellCount(count, texts.images.cell(cell.truth, cell.found))}
      title={texts.images.cell(cell.truth, cell.found)}
      onClick={() => onChoose(pressed ? null : cell)}
    >
      {whole(count)}
    </button>
  );
}

interface LabelProps {
  confusion: Confusion;
  point: MetricPoint;
  looks: Looks;
}

export function LabelTable({ confusion, point, looks }: LabelProps): JSX.Element {
  const { columns, columnHints, percent } = texts.images;
  const share = (value: number | null) => (value === null ? texts.none : percent(value));
  return (
    <div class="scroll-x label-figures">
      <table class="plain-table" data-testid="label-figures">
        <thead>
          <tr>
            <th scope="col">{columns.label}</th>
            <th scope="col" class="num">
              {columns.truth}
            </th>
            <th scope="col" class="num" title={columnHints.precision}>
              {columns.precision}
            </th>
            <th scope="col" class="num" title={columnHints.recall}>
              {columns.recall}
            </th>
            <th scope="col" class="num" title={columnHints.ap}>
              {columns.ap}
            </th>
          </tr>
        </thead>
        <tbody>
          {figuresOf(confusion).map((each) => (
            <tr key={each.label}>
              <th scope="row">
                <Swatch look={lookOf(looks, each.label)} />
                {each.label}
              </th>
              <td class="num">{whole(each.truth)}</td>
              <td class="num">{share(each.precision)}</td>
              <td class="num">{share(each.recall)}</td>
              <td class="num">{precision(labelPrecision(point, each.label)) ?? texts.none}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
