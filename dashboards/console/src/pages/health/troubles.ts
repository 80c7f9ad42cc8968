/** What only this page can say of the hub; all else is the hub's own list of troubles. Pure. */

import type { Schemas } from "../../api/hub";
import type { PageName } from "../route";

export interface Seen {
  status: Pick<Schemas["Status"], "devices">;
  buses: readonly Schemas["Bus"][];
}

/** What is wrong in the town, not with the hub: alerts tell people of it. */
export interface Remark {
  is: "dead" | "unit";
  with: Record<string, string | number>;
}

/** Devices that are lost, and units that do not answer on a bus that does. */
export function remarks({ status, buses }: Seen): Remark[] {
  const silent = buses.filter(({ connected }) => connected).flatMap(({ units }) => units.filter(({ up }) => up === false));
  const units = silent.map((unit): Remark => ({ is: "unit", with: { device: unit.device, why: unit.last_error?.message ?? "" } }));
  const { dead } = status.devices;
  return dead > 0 ? [...units, { is: "dead", with: { count: dead } }] : units;
}

/** Where one sees more of a trouble. */
export function pageOf(code: Schemas["TroubleCode"]): PageName | undefined {
  return code === "channel" ? "notifications" : code === "profile" ? "profiles" : undefined;
}

export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}
