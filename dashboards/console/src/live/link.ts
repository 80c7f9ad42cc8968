/** How alive the stream is, judged by its heartbeat alone: an open socket proves nothing. */

/** The hub's heartbeat, in milliseconds. */
export const BEAT_MS = 10_000;
/** Silence after which old numbers must not look live: three beats missed. */
export const STALE_AFTER_MS = 3 * BEAT_MS;

/** `connecting`: nothing heard yet; `late`: a beat is overdue; `stale`: what is shown may be wrong. */
export type Liveness = "connecting" | "live" | "late" | "stale";

/** What is known of the stream; times are monotonic milliseconds. */
export interface Link {
  openedAtMs: number;
  heardAtMs: number | null;
}

/** Judges the link at `nowMs`. A stream that never spoke becomes stale like one that fell silent. */
export function liveness(link: Link, nowMs: number): Liveness {
  const silentMs = nowMs - (link.heardAtMs ?? link.openedAtMs);
  if (silentMs >= STALE_AFTER_MS) return "stale";
  if (link.heardAtMs === null) return "connecting";
  return silentMs >= BEAT_MS * 1.5 ? "late" : "live";
}

/** Milliseconds since the hub was last heard; nothing when it never was. */
export function silentMs(link: Link, nowMs: number): number | null {
  return link.heardAtMs === null ? null : Math.max(0, nowMs - link.heardAtMs);
}
