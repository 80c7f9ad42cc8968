/** The town of a moment that has passed, made of today's things and the hub's answer to `/map?at=`. Pure. */

import type { MapAnswer } from "../api/types";
import type { Shown } from "../live/events";
import { isOpen, type Town } from "../town/town";

const HOUR_MS = 3_600_000;

export type Span = "day" | "week";
/** How far back a span reaches, and how far apart its moments are, milliseconds. */
export const SPANS: Record<Span, { lengthMs: number; stepMs: number }> = {
  day: { lengthMs: 24 * HOUR_MS, stepMs: 10 * 60_000 },
  week: { lengthMs: 7 * 24 * HOUR_MS, stepMs: HOUR_MS },
};

/** More assets than this are asked for by what is in sight: the hub reads its store for each of them. */
export const WHOLE_TOWN = 4_000;

/** An asset out of the answer was out of sight when it was asked for. */
const UNKNOWN: Shown = { severity: 0, acknowledged: false, freshness: "never", state: null, grade: "good" };

/** The moments of a span up to now, on round times, the oldest first: the same moment is asked for twice only once. */
export function momentsOf(span: Span, nowMs: number): { firstMs: number; lastMs: number; stepMs: number } {
  const { lengthMs, stepMs } = SPANS[span];
  const lastMs = Math.floor(nowMs / stepMs) * stepMs;
  return { firstMs: lastMs - lengthMs, lastMs, stepMs };
}

/** `live` with the past's states, values and alerts. The things keep their identity, so the map need not take them anew. */
export function townOfPast(live: Town, answer: MapAnswer): Town {
  const shown = new Map<number, Shown>();
  for (const { id, properties } of answer.features) {
    if (typeof id !== "number" || !live.assets.has(id)) continue;
    const { severity, acknowledged, freshness, state, grade } = properties;
    shown.set(id, { severity, acknowledged, freshness: freshness ?? "fresh", state, grade });
  }
  for (const id of live.assets.keys()) if (!shown.has(id)) shown.set(id, UNKNOWN);
  const values = new Map(
    answer.features.flatMap(({ id, properties: { headline } }) => {
      if (typeof id !== "number" || headline === null || headline.value === null) return [];
      const { device, metric, value, quality, reason } = headline;
      const observedAtMs = Date.parse(headline.observed_at ?? "");
      return [[`${device}/${metric}`, { asset: id, device, metric, value, grade: quality, reason, observedAtMs }] as const];
    }),
  );
  const alerts = new Map((answer.alerts ?? []).filter(isOpen).map((alert) => [alert.id, alert]));
  return { ...live, shown, alerts, values, position: null, reload: null };
}
