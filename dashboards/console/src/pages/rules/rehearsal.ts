/** A rule over stored history, as it is asked for and shown. Pure. */

import type { Schemas } from "../../api/hub";
import type { SeverityName } from "../../api/types";
import type { Fields, Kind } from "./rule";

export type Rehearsed = Schemas["Rehearsed"];
/** What is asked of one device, but for the time. */
export type Asked = Omit<Schemas["RehearsalBody"], "from" | "to" | "device">;
/** What was recorded, what the present rule would have raised, and what the proposed one. */
export type Side3 = "recorded" | "present" | "proposed";
export const SIDES: readonly Side3[] = ["recorded", "present", "proposed"];

/** One raising, wherever it comes from. */
export interface Raising {
  fromMs: number;
  /** Null: still so at the end. */
  toMs: number | null;
  severity: SeverityName;
  peak: number | null;
  alert: number | null;
}

export interface Column {
  sums: Schemas["SpellSums"];
  raisings: Raising[];
  truncated: boolean;
}

export function columnOf(rehearsed: Rehearsed, side: Side3): Column | null {
  if (side === "recorded") {
    const log = rehearsed.recorded;
    return (
      log && {
        sums: log.sums,
        truncated: log.truncated,
        raisings: log.spells.map(({ alert, raised, cleared, severity }) => raising(raised, cleared, severity, null, alert)),
      }
    );
  }
  const played = rehearsed[side];
  return (
    played && {
      sums: played.sums,
      truncated: played.truncated,
      raisings: played.spells.map(({ raised, cleared, severity, peak }) => raising(raised, cleared, severity, peak, null)),
    }
  );
}

function raising(raised: string, cleared: string | null, severity: SeverityName, peak: number | null, alert: number | null): Raising {
  return { fromMs: Date.parse(raised), toMs: cleared === null ? null : Date.parse(cleared), severity, peak, alert };
}

/** Where a raising lies in the time that is shown, in percent; never too thin to be seen. */
export function place(one: Raising, fromMs: number, toMs: number): { left: number; width: number } {
  const span = Math.max(1, toMs - fromMs);
  const left = Math.min(99.5, Math.max(0, ((one.fromMs - fromMs) / span) * 100));
  const end = Math.min(100, (((one.toMs ?? toMs) - fromMs) / span) * 100);
  return { left, width: Math.max(0.5, end - left) };
}

/** Sums over many devices. */
export interface Total {
  raised: number;
  activeS: number;
  bySeverity: Record<string, number>;
  devices: number;
}

export function addUp(columns: readonly (Column | null)[]): Total {
  const total: Total = { raised: 0, activeS: 0, bySeverity: {}, devices: 0 };
  for (const column of columns) {
    if (column === null) continue;
    total.raised += column.sums.raised;
    total.activeS += column.sums.active_s;
    total.devices += column.sums.raised > 0 ? 1 : 0;
    for (const [severity, count] of Object.entries(column.sums.by_severity)) {
      total.bySeverity[severity] = (total.bySeverity[severity] ?? 0) + count;
    }
  }
  return total;
}

/** The lines that belong into the curve of the value itself; of rise, fall and sum there are none. */
export function linesOf(kind: Kind, fields: Fields | null): { at: number; severity: SeverityName }[] {
  if (fields === null || kind !== "limit") return [];
  return fields.rungs.filter(({ limit }) => Number.isFinite(limit)).map(({ limit, severity }) => ({ at: limit, severity }));
}

/** A step that fills a chart with about one bucket a pixel, in whole seconds. */
export function stepOf(fromMs: number, toMs: number): number {
  return Math.max(10, Math.ceil((toMs - fromMs) / 1000 / 480));
}

/** A local time as `datetime-local` holds it, and back. */
export function localText(ms: number): string {
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 16);
}
