/** The list of devices: what is wrong stands first. Pure. */

import type { Schemas } from "../../api/hub";

export type Row = Schemas["DeviceSummary"];
export const STATES = ["fresh", "stale", "dead", "never", "undecoded"] as const;
export type State = (typeof STATES)[number];

export const PAGE = 100;

const TROUBLE: Record<Row["freshness"], number> = { dead: 0, stale: 1, never: 2, fresh: 4 };

function trouble(row: Row): number {
  return row.freshness === "fresh" && row.undecoded_total > 0 ? 3 : TROUBLE[row.freshness];
}

/** Whether the row is in this state; every row is in none. */
export function isIn(row: Row, state: string | undefined): boolean {
  if (state === undefined || state === "") return true;
  return state === "undecoded" ? row.undecoded_total > 0 : row.freshness === state;
}

/** The rows in a state, the most trouble first, then by id. */
export function sorted(rows: readonly Row[], state: string | undefined): Row[] {
  return rows.filter((row) => isIn(row, state)).sort((a, b) => trouble(a) - trouble(b) || a.id.localeCompare(b.id));
}
