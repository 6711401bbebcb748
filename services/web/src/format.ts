/** Numbers, sizes, durations, dates and names as people read them. Pure but for the reader's time zone. */
import { STARTING_MODEL_NAMES } from "./contract";
import { LOCALE } from "./locale";

const WHOLE = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const DATE = new Intl.DateTimeFormat(LOCALE, {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const DAY = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const CLOCK = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** 4100 -> "4,100". */
export function whole(value: number): string {
  return WHOLE.format(value);
}

/** Seconds -> "14:33", with hours "1:02:03"; never rounds up to what hasn't passed. */
export function duration(seconds: number): string {
  const total = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const tail = String(total % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** Seconds -> whole minutes that are complete: what a team can still spend is never rounded up. */
export function minutes(seconds: number): string {
  return whole(Math.trunc(seconds / 60));
}

/** Seconds -> "+12:30", "−0:45": a line of a statement, in minutes and seconds. */
export function signedMinutes(seconds: number, plus: string = "+"): string {
  const total = Math.abs(Math.trunc(seconds));
  const sign = seconds < 0 ? "\u2212" : seconds > 0 ? plus : "";
  return `${sign}${whole(Math.floor(total / 60))}:${String(total % 60).padStart(2, "0")}`;
}

/** Bytes -> "18.4 MB" (decimal, as operating systems and robots show it). */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A metric for a table: four significant figures, small ones with an exponent. */
export function metric(value: number): string {
  if (value === 0) return "0";
  const magnitude = Math.abs(value);
  if (magnitude >= 1000) return whole(value);
  return magnitude < 0.001 ? value.toExponential(2) : value.toPrecision(4);
}

/** An average precision or recall, 0..1, or null where there is none (-1 means that no such object exists). */
export function precision(value: number | null | undefined): string | null {
  return value === null || value === undefined || value < 0 ? null : value.toFixed(3);
}

/** "12 Oct 2021, 14:40" in the reader's time zone. */
export function date(at: string): string {
  return DATE.format(new Date(at));
}

/** "12 Oct" in the reader's time zone; with the year where it isn't this one. */
export function day(at: string, now: number, timeZone?: string): string {
  const when = new Date(at);
  const thisYear = when.getFullYear() === new Date(now).getFullYear();
  const year = thisYear ? {} : ({ year: "numeric" } as const);
  return when.toLocaleDateString(LOCALE, {
    day: "numeric",
    month: "short",
    ...year,
    ...(timeZone ? { timeZone } : {}),
  });
}

/** A day that is told as one, "2021-10-12" -> "12 Oct": the same wherever the reader is. */
export function calendarDay(of: string, now: number): string {
  return day(`${of}T12:00:00Z`, now, "UTC");
}

/** "14:40" in the reader's time zone; with the day where that isn't today, with the year where it isn't this one. */
export function clock(at: string, now: number): string {
  const when = new Date(at);
  const today = new Date(now);
  if (when.toDateString() === today.toDateString()) return CLOCK.format(when);
  return (when.getFullYear() === today.getFullYear() ? DAY : DATE).format(when);
}

/** "14:40:07". */
export function clockSeconds(at: number): string {
  return CLOCK_SECONDS.format(new Date(at));
}

/** STOP_REQUESTED -> "STOP REQUESTED", as ftc-ml shows it. */
export function stateName(state: string): string {
  return state.replaceAll("_", " ");
}

/** The shown name of a starting model, or its key where this page is older than the model. */
export function startingModelName(key: string): string {
  return STARTING_MODEL_NAMES[key] ?? key;
}
