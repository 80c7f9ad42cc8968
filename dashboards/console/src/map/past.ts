/** The town of a moment that has passed, made of today's things and the hub's answer to `/map?at=`. Pure. */

import type { Headline, MapAnswer } from "../api/types";
import type { Shown } from "../live/events";
import { isOpen, pointKey, type Town } from "../town/town";

const HOUR_MS = 3_600_000;

export type Span = "day" | "week";
/** How far back a span reaches, and how far apart its moments are, milliseconds. */
export const SPANS: Record<Span, { lengthMs: number; stepMs: number }> = {
  day: { lengthMs: 24 * HOUR_MS, stepMs: 10 * 60_000 },
  week: { lengthMs: 7 * 24 * HOUR_MS, stepMs: HOUR_MS },
};

/** More assets than this are asked for by what is in sight: the hub reads its store for each of them. */
export const WHOLE_TOWN = 4_000;

/** What the page shows of a moment. */
export interface Past {
  atMs: number;
  town: Town;
  /** The value that stood for an asset, by its number. */
  headlines: ReadonlyMap<number, Headline>;
  /** Another moment is being read: this one is no longer what was asked for. */
  reading: boolean;
  /** Why the moment cannot be shown. */
  failed: string | null;
}

/** How far back playback begins: what people ask first is how it came to what stands now. */
const BEGINS_MS = 2 * HOUR_MS;

/** A moment of which nothing is known, yet or at all: nothing of now stands in it, and nothing can be ordered already. */
export function unknownMoment(live: Town, atMs: number, failed: string | null = null): Past {
  const shown = new Map([...live.assets.keys()].map((id) => [id, UNKNOWN]));
  const town = { ...live, shown, alerts: new Map(), values: new Map(), position: null, reload: null };
  return { atMs, town, headlines: new Map(), reading: failed === null, failed };
}

/** Where playback begins. */
export function firstMoment(nowMs: number): number {
  const { firstMs, lastMs } = momentsOf("day", nowMs);
  return Math.max(firstMs, lastMs - BEGINS_MS);
}

/** An asset out of the answer was out of sight when it was asked for. */
const UNKNOWN: Shown = { severity: 0, acknowledged: false, freshness: "never", state: null, grade: "good" };

/** The moments of a span up to now, on round times, the oldest first: the same moment is asked for twice only once. */
export function momentsOf(span: Span, nowMs: number): { firstMs: number; lastMs: number; stepMs: number } {
  const { lengthMs, stepMs } = SPANS[span];
  const lastMs = Math.floor(nowMs / stepMs) * stepMs;
  return { firstMs: lastMs - lengthMs, lastMs, stepMs };
}

/** `live` with the past's states, values and alerts. The things keep their identity, so the map need not take them anew. */
export function momentOf(live: Town, atMs: number, answer: MapAnswer): Past {
  const past = unknownMoment(live, atMs);
  const shown = new Map(past.town.shown);
  const headlines = new Map<number, Headline>();
  const values: Town["values"] = new Map(
    answer.features.flatMap(({ id, properties }) => {
      if (typeof id !== "number" || !live.assets.has(id)) return [];
      const { severity, acknowledged, freshness, state, grade, headline } = properties;
      shown.set(id, { severity, acknowledged, freshness: freshness ?? "fresh", state, grade });
      if (headline === null) return [];
      headlines.set(id, headline);
      const { device, metric, value, quality, reason } = headline;
      if (value === null) return [];
      const observedAtMs = Date.parse(headline.observed_at ?? "");
      return [[pointKey(device, metric), { asset: id, device, metric, value, grade: quality, reason, observedAtMs }] as const];
    }),
  );
  const alerts = new Map((answer.alerts ?? []).filter(isOpen).map((alert) => [alert.id, alert]));
  return { ...past, town: { ...past.town, shown, alerts, values }, headlines, reading: false };
}
