/** What is wrong with the hub, worst first. Pure. */

import type { Schemas } from "../../api/hub";
import { labelText } from "../../format";
import type { Language } from "../../i18n";
import type { PageName } from "../route";

export interface Trouble {
  is:
    | "ready" | "full" | "disk" | "backup" | "broker" | "bridge" | "engine" | "overfull" | "refusing" | "queue" | "dead" | "bus" | "unit" | "profile" | "channels"
    | "services";
  with: Record<string, string | number>;
  /** Where one sees more. */
  page?: PageName;
}

export interface Seen {
  missing: string[];
  status: Schemas["Status"];
  buses: Schemas["Bus"][];
  refused: Schemas["Refused"][];
  /** Messages that services missed. */
  dropped: number;
}

const FULL_SHARE = 0.5;

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

export function troubles({ missing, status, buses, refused, dropped }: Seen, language: Language): Trouble[] {
  const found: Trouble[] = [];
  if (missing.length > 0) found.push({ is: "ready", with: { parts: missing.join(", ") } });
  const { disk } = status;
  if (disk !== null && disk.total_bytes > 0) {
    const share = Math.round((disk.free_bytes / disk.total_bytes) * 100);
    const about = { free: bytesText(disk.free_bytes), share, stop: bytesText(disk.stop_below_bytes) };
    if (disk.state === "full") found.push({ is: "full", with: about });
    if (disk.state === "low") found.push({ is: "disk", with: about });
  }
  const failure = status.backups?.failure ?? null;
  if (failure !== null) found.push({ is: "backup", with: { why: failure } });
  for (const is of ["broker", "bridge"] as const) {
    const problem = status[is]?.problem ?? null;
    if (problem !== null) found.push({ is, with: { address: status[is]?.address ?? "", why: labelText(problem, language) } });
  }
  const { remote } = status;
  if (remote?.problem) {
    const waiting = remote.queue_readings;
    const share = Math.round((remote.queue_bytes / remote.queue_max_bytes) * 100);
    found.push({ is: "engine", with: { engine: remote.engine, waiting, share, why: remote.problem.why } });
  }
  if (remote && remote.folded > 0) found.push({ is: "overfull", with: { engine: remote.engine, count: remote.folded } });
  if (remote && remote.refused > 0) {
    found.push({ is: "refusing", with: { engine: remote.engine, count: remote.refused, why: remote.refusal ?? "" } });
  }
  for (const { name, waiting, size } of status.queues) {
    if (waiting / size > FULL_SHARE) found.push({ is: "queue", with: { name, share: Math.round((waiting / size) * 100) } });
  }
  for (const bus of buses) {
    if (!bus.connected) found.push({ is: "bus", with: { endpoint: bus.endpoint, why: bus.last_error?.message ?? "" } });
    else {
      for (const unit of bus.units.filter(({ up }) => up === false)) {
        found.push({ is: "unit", with: { device: unit.device, why: unit.last_error?.message ?? "" } });
      }
    }
  }
  if (status.devices.dead > 0) found.push({ is: "dead", with: { count: status.devices.dead }, page: "devices" });
  const failing = status.notifications?.failing ?? [];
  if (failing.length > 0) found.push({ is: "channels", with: { names: failing.join(", ") }, page: "notifications" });
  for (const one of refused) found.push({ is: "profile", with: { file: one.file, why: one.errors[0]?.split("\n")[0] ?? "" }, page: "profiles" });
  if (dropped > 0) found.push({ is: "services", with: { count: dropped } });
  return found;
}
