/** A day of one point as the chart draws it. */

import type { Bucket, Grade, Limit } from "../api/types";

/** Columns for the chart: seconds since 1970, values; no value is a gap. */
export interface Trend {
  times: number[];
  values: (number | null)[];
}

/** Buckets of this many seconds fill a chart of 400 px with about one a pixel. */
export const TREND_STEP_S = 300;

/** Lines up the buckets. Where nothing good was measured, or nothing at all for three usual distances, the line breaks. */
export function toTrend(buckets: readonly Bucket[], useLast: boolean): Trend {
  const times: number[] = [];
  const values: (number | null)[] = [];
  const breakAfterMs = 3 * usualDistanceMs(buckets);
  let previousMs: number | null = null;
  for (const [startMs, mean, , , last, count, goodShare] of buckets) {
    if (previousMs !== null && startMs - previousMs > breakAfterMs) {
      times.push((previousMs + 1000) / 1000);
      values.push(null);
    }
    const good = count > 0 && goodShare > 0;
    times.push(startMs / 1000);
    values.push(good ? (useLast ? last : mean) : null);
    previousMs = startMs;
  }
  return { times, values };
}

/** The median distance of neighbours: what this sensor's rhythm is. */
function usualDistanceMs(buckets: readonly Bucket[]): number {
  const distances = buckets
    .slice(1)
    .map((bucket, i) => bucket[0] - (buckets[i]?.[0] ?? bucket[0]))
    .sort((a, b) => a - b);
  return Math.max(TREND_STEP_S * 1000, distances[Math.floor(distances.length / 2)] ?? 0);
}

/** The trend with a live value at its end. A bad value breaks the line, an old one changes nothing. */
export function extend(trend: Trend, atMs: number, value: number | null, grade: Grade): Trend {
  const last = trend.times.at(-1);
  const at = atMs / 1000;
  if (last !== undefined && at <= last) return trend;
  return {
    times: [...trend.times, at],
    values: [...trend.values, grade === "bad" ? null : value],
  };
}

/** Lowest, highest and newest drawn value; nothing when there is none. */
export function extremes(trend: Trend): { min: number; max: number; last: number } | null {
  const drawn = trend.values.filter((value): value is number => value !== null);
  const last = drawn.at(-1);
  if (last === undefined) return null;
  return { min: Math.min(...drawn), max: Math.max(...drawn), last };
}

/** The limit lines that belong into the chart: levels, not states. */
export function limitLines(limits: readonly Limit[]): { at: number; severity: Limit["severity"] }[] {
  return limits.flatMap(({ above, below, severity }) => {
    const at = above ?? below;
    return at === undefined || at === null ? [] : [{ at, severity }];
  });
}
