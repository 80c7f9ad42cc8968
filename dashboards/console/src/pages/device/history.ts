/** A stretch of one point's history as its chart draws it. Pure. */

import type { Schemas } from "../../api/hub";
import type { SeverityName } from "../../api/types";

export type StepRow = Schemas["Steps"]["points"][number];

/** The spans that can be looked at, in days, each with steps of about one a pixel. */
export const SPANS = { 1: 300, 7: 1800, 30: 7200 } as const;
export type Days = keyof typeof SPANS;

export function daysOf(text: string | undefined): Days {
  return text === "7" ? 7 : text === "30" ? 30 : 1;
}

export interface Stretch {
  /** Seconds since 1970. */
  from: number;
  to: number;
}

export interface HistoryLine {
  times: number[];
  values: (number | null)[];
  /** Where not every reading was good. */
  doubts: Stretch[];
}

/** Lines the steps up: a hole of three usual distances breaks the line, a step that is not wholly good is doubtful. */
export function historyLine(rows: readonly StepRow[], stepS: number, useLast: boolean): HistoryLine {
  const distances = rows.slice(1).map((row, i) => row[0] - (rows[i]?.[0] ?? row[0])).sort((a, b) => a - b);
  const usualMs = Math.max(stepS * 1000, distances[Math.floor(distances.length / 2)] ?? 0);
  const line: HistoryLine = { times: [], values: [], doubts: [] };
  let previousMs: number | null = null;
  for (const [startMs, mean, , , last, , goodShare] of rows) {
    const at = startMs / 1000;
    if (previousMs !== null && startMs - previousMs > 3 * usualMs) {
      line.times.push(previousMs / 1000 + 1);
      line.values.push(null);
    }
    line.times.push(at);
    line.values.push(useLast ? last : mean);
    if (goodShare < 1) {
      const before = line.doubts.at(-1);
      if (before !== undefined && at - before.to <= 1) before.to = at + stepS;
      else line.doubts.push({ from: at, to: at + stepS });
    }
    previousMs = startMs;
  }
  return line;
}

/** Lowest and highest value of a stretch by the steps' own extremes. */
export function extremesOf(rows: readonly StepRow[]): { min: number; max: number } | null {
  const lows = rows.map((row) => row[2]).filter((value) => value !== null);
  const highs = rows.map((row) => row[3]).filter((value) => value !== null);
  return lows.length === 0 || highs.length === 0 ? null : { min: Math.min(...lows), max: Math.max(...highs) };
}

export interface RuleLimit {
  at: number;
  side: "above" | "below";
  severity: SeverityName;
  /** The override that set it. */
  override: string | null;
}

/** The limits of a point in force, worst first. */
export function limitsOf(rules: readonly Schemas["EffectiveRule"][], metric: string): RuleLimit[] {
  const rank: Record<string, number> = { critical: 1, major: 2, minor: 3, info: 4 };
  const mine = rules.filter((rule) => rule.metric === metric && rule.in_force && rule.kind === "limit");
  const limits = mine.flatMap((one) => {
    const { ladder } = one.rule as { ladder?: { above?: number; below?: number; severity: SeverityName }[] };
    return (ladder ?? []).flatMap(({ above, below, severity }): RuleLimit[] => {
      const at = above ?? below;
      return at === undefined ? [] : [{ at, side: above === undefined ? "below" : "above", severity, override: one.from.rungs?.override ?? null }];
    });
  });
  return limits.sort((a, b) => (rank[a.severity] ?? 9) - (rank[b.severity] ?? 9));
}

export interface AlertSpan extends Stretch {
  severity: SeverityName;
}

/** When alerts of a point (or of the whole device) stood, within the stretch. */
export function alertSpans(alerts: readonly Schemas["Alert"][], metric: string, stretch: Stretch): AlertSpan[] {
  const mine = alerts.filter((alert) => alert.metric === metric || alert.metric === null);
  const spans = mine.map((alert) => ({
    from: Date.parse(alert.raised_at) / 1000,
    to: alert.cleared_at === null ? stretch.to : Date.parse(alert.cleared_at) / 1000,
    severity: alert.worst,
  }));
  return spans
    .filter(({ from, to }) => to >= stretch.from && from <= stretch.to)
    .map((span) => ({ ...span, from: Math.max(span.from, stretch.from), to: Math.min(span.to, stretch.to) }));
}

/** A kept payload (text, or `hex:` and digits) in both forms, as far as it has them. */
export function bothForms(payload: string): { text: string | null; hex: string; bytes: number } {
  const digits = payload.startsWith("hex:") ? payload.slice(4) : null;
  const bytes = digits === null ? [...new TextEncoder().encode(payload)].map((byte) => byte.toString(16).padStart(2, "0")) : (digits.match(/../g) ?? []);
  return { text: digits === null ? payload : null, hex: bytes.join(" "), bytes: bytes.length };
}
