/** What stands in the tables of a report, and how a figure is written. Pure. */

import type { Schemas } from "../../api/hub";
import { durationText } from "../../format";
import type { Language } from "../../i18n";
import { reportWords, type ReportWord } from "./words";

export type CaseFigures = Schemas["CaseFigures"];
export type AlarmFigures = Schemas["AlarmFigures"];
export type Figure = Schemas["Figure"];
export type Times = Schemas["Times"];

/** How a number is meant: a count, a part of a whole, a time in seconds, or a rate with decimals. */
export type Sort = "count" | "share" | "seconds" | "rate";

/** A number in words; a dash for none. */
export function figureText(value: number | null, sort: Sort, language: Language): string {
  if (value === null) return "—";
  const locale = language === "zh" ? "zh-CN" : "en-GB";
  switch (sort) {
    case "count":
      return new Intl.NumberFormat(locale, { maximumFractionDigits: 1 }).format(value);
    case "share":
      // A published rate has two decimals: 93.72%.
      return `${(100 * value).toFixed(2)}%`;
    case "seconds":
      return durationText(1000 * value, language);
    case "rate":
      return new Intl.NumberFormat(locale, value < 1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 1 }).format(value);
  }
}

/** How it changed; nothing when one of both is missing. */
export function changeText(now: number | null, former: number | null, sort: Sort, language: Language): string {
  if (now === null || former === null) return "—";
  const say = reportWords(language);
  const change = now - former;
  if (sort === "share") {
    const points = (100 * change).toFixed(2);
    if (Number(points) === 0) return say("change.same");
    return say("change.points", { n: signed(change, points.replace("-", "")) });
  }
  const size = figureText(Math.abs(change), sort, language);
  if (size === figureText(0, sort, language)) return say("change.same");
  return signed(change, size);
}

/** A minus as wide as a plus. */
function signed(change: number, size: string): string {
  return `${change < 0 ? "−" : "+"}${size}`;
}

export const CASE_FACTS = [
  ["received", "count"],
  ["opened", "count"],
  ["due", "count"],
  ["closed", "count"],
  ["on_time", "count"],
  ["closing_rate", "share"],
  ["on_time_rate", "share"],
  ["rework_rate", "share"],
] as const satisfies readonly (readonly [keyof CaseFigures & ReportWord, Sort])[];

export const STEPS = ["acknowledge", "dispatch", "accept", "arrive", "clear", "close"] as const;

/** The figures with a target. */
export const TARGETS: readonly { word: ReportWord; sort: Sort; of: (figures: AlarmFigures) => Figure }[] = [
  { word: "alarm.rate", sort: "rate", of: (f) => f.rate },
  { word: "alarm.peak", sort: "rate", of: (f) => f.peak },
  { word: "alarm.overloaded", sort: "share", of: (f) => f.overloaded },
  { word: "alarm.in_flood", sort: "share", of: (f) => f.in_flood },
  { word: "alarm.chattering", sort: "count", of: (f) => f.chattering },
  { word: "alarm.stale", sort: "count", of: (f) => f.stale },
  { word: "alarm.top_share", sort: "share", of: (f) => f.top_share },
  { word: "alarm.high_share", sort: "share", of: (f) => f.priorities.high_share },
  { word: "alarm.high_and_medium_share", sort: "share", of: (f) => f.priorities.high_and_medium_share },
];

/** A target as a bound: shares without their empty decimals. */
export function targetText({ target }: Figure, sort: Sort): string {
  return sort === "share" ? `≤ ${Number((100 * target).toFixed(2))}%` : `≤ ${target}`;
}

/** A column of the tables by group. */
export interface Column<F> {
  word: ReportWord;
  sort: Sort;
  of: (figures: F) => number | null;
  /** Drawn as a bar too: against the greatest of its column, or against the whole for a share. */
  bar?: boolean;
  /** A figure with a verdict: what is not met is said. */
  verdict?: (figures: F) => Figure["verdict"];
}

export const CASE_COLUMNS: readonly Column<CaseFigures>[] = [
  { word: "received", sort: "count", of: (f) => f.received },
  { word: "opened", sort: "count", of: (f) => f.opened, bar: true },
  { word: "due", sort: "count", of: (f) => f.due },
  { word: "closed", sort: "count", of: (f) => f.closed },
  { word: "closing_rate", sort: "share", of: (f) => f.closing_rate, bar: true },
  { word: "on_time", sort: "count", of: (f) => f.on_time },
  { word: "on_time_rate", sort: "share", of: (f) => f.on_time_rate, bar: true },
  { word: "closings", sort: "count", of: (f) => f.closings },
  { word: "reopened", sort: "count", of: (f) => f.reopened },
  { word: "close_median", sort: "seconds", of: (f) => f.close.median_s },
];

export const ALARM_COLUMNS: readonly Column<AlarmFigures>[] = [
  { word: "alarm.alarms", sort: "count", of: (f) => f.alarms, bar: true },
  { word: "alarm.info", sort: "count", of: (f) => f.info },
  { word: "alarm.held_back", sort: "count", of: (f) => f.held_back },
  { word: "alarm.rate.short", sort: "rate", of: (f) => f.rate.value, verdict: (f) => f.rate.verdict },
  { word: "alarm.peak.short", sort: "rate", of: (f) => f.peak.value, verdict: (f) => f.peak.verdict },
  { word: "alarm.floods", sort: "count", of: (f) => f.floods },
  { word: "alarm.chattering", sort: "count", of: (f) => f.chattering.value, verdict: (f) => f.chattering.verdict },
  { word: "alarm.stale.short", sort: "count", of: (f) => f.stale.value, verdict: (f) => f.stale.verdict },
  { word: "alarm.acknowledge", sort: "seconds", of: (f) => f.acknowledge.median_s },
  { word: "alarm.clear", sort: "seconds", of: (f) => f.clear.median_s },
];

export interface Group<F> {
  key: string | null;
  figures: F;
  former: F | null;
}

export interface Order {
  column: number;
  down: boolean;
}

/** Groups as somebody wants them; what has no figure comes last either way. Without an order, as the hub gives them. */
export function ordered<F>(groups: readonly Group<F>[], columns: readonly Column<F>[], order: Order | null): readonly Group<F>[] {
  const column = order === null ? undefined : columns[order.column];
  if (order === null || column === undefined) return groups;
  return [...groups].sort((a, b) => {
    const [x, y] = [column.of(a.figures), column.of(b.figures)];
    if (x === null || y === null) return Number(x === null) - Number(y === null);
    return order.down ? y - x : x - y;
  });
}

/** How much of its bar a figure fills, 0 to 1. */
export function fillOf<F>(column: Column<F>, figures: F, groups: readonly Group<F>[]): number {
  const value = column.of(figures) ?? 0;
  if (column.sort === "share") return Math.min(1, value);
  const greatest = groups.reduce((max, group) => Math.max(max, column.of(group.figures) ?? 0), 0);
  return greatest === 0 ? 0 : value / greatest;
}

/** The bars of a row of periods as one path, in a box of `values.length` x 100; `at` and `width` are parts of a period's place. */
export function barsPath(values: readonly number[], max: number, at: number, width: number): string {
  if (max <= 0) return "";
  return values
    .map((value, i) => [i + at, (100 * value) / max] as const)
    .filter(([, height]) => height > 0)
    .map(([x, height]) => `M${round(x)} 100v${round(-height)}h${width}v${round(height)}z`)
    .join("");
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The least round number that is not below: the top of an axis. */
export function axisTop(max: number): number {
  if (max <= 5) return Math.max(1, Math.ceil(max));
  const unit = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 5, 10].map((step) => step * unit).find((top) => top >= max) ?? max;
}
