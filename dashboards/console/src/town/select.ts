/** Questions to the town: which alerts in which order, how many, which comes next. Pure. */

import type { Alert, Family, Kind, Label, Rank, SeverityName } from "../api/types";
import { searchTexts } from "./search";
import type { Asset, Town } from "./town";

export const RANK: Record<SeverityName, Rank> = { critical: 1, major: 2, minor: 3, info: 4 };
export const SEVERITY: Record<Rank, SeverityName> = { 1: "critical", 2: "major", 3: "minor", 4: "info" };
export const RANKS: readonly Rank[] = [1, 2, 3, 4];
export const FAMILIES: readonly Family[] = ["pipes", "gates", "parking"];

/** What the operator wants to see. An empty set means everything. */
export interface Filter {
  families: ReadonlySet<Family>;
  kinds: ReadonlySet<Kind>;
  zones: ReadonlySet<string>;
  ranks: ReadonlySet<Rank>;
  unacknowledgedOnly: boolean;
  standing: StandingName;
  text: string;
}

/** Whether an alert rings, or what keeps it from ringing. */
export type StandingName = "annunciated" | "shelved" | "suppressed" | "out_of_service";
export const ASIDE: readonly Exclude<StandingName, "annunciated">[] = ["shelved", "suppressed", "out_of_service"];

/** How an alert stands; what a person did goes before what the hub found. */
export function standingOf({ standing }: Alert): StandingName {
  if (standing?.out_of_service) return "out_of_service";
  if (standing?.shelved) return "shelved";
  return standing?.suppressed ? "suppressed" : "annunciated";
}

/** Whether an alert calls for somebody. */
export function rings(alert: Alert): boolean {
  return standingOf(alert) === "annunciated";
}

/** The open alerts that are put aside, by why. */
export function countAside(town: Town): Record<StandingName, number> {
  const counts = { annunciated: 0, shelved: 0, suppressed: 0, out_of_service: 0 };
  for (const alert of town.alerts.values()) counts[standingOf(alert)] += 1;
  return counts;
}

export const NO_FILTER: Filter = {
  families: new Set(),
  kinds: new Set(),
  zones: new Set(),
  ranks: new Set(),
  unacknowledgedOnly: false,
  standing: "annunciated",
  text: "",
};

/** Whether anything but the search text is narrowed. */
export function isNarrowed(filter: Filter): boolean {
  const { families, kinds, zones, ranks, unacknowledgedOnly, standing } = filter;
  return [families, kinds, zones, ranks].some(({ size }) => size > 0) || unacknowledgedOnly || standing !== "annunciated";
}

/**
 * A row that keeps its place while the operator works on it. Acknowledging moves an alert down the order; the row under
 * the operator's hand must not jump away, so it is ordered as it was when it was chosen, even if it has closed since.
 */
export interface Held {
  /** The alert as it was when it was chosen: this orders and filters the row. */
  alert: Alert;
  /** The alert as last heard of, which outlives its leaving the town's open alerts. */
  latest: Alert;
}

interface Row {
  alert: Alert;
  orderedAs: Alert;
}

/** The open alerts that pass the filter: unacknowledged first, then by severity, then the newest. */
export function listAlerts(town: Town, filter: Filter, held: Held | null): Alert[] {
  const rows: Row[] = [];
  const heldId = held?.alert.id;
  for (const alert of town.alerts.values()) {
    if (alert.id !== heldId && passes(town, filter, alert)) rows.push({ alert, orderedAs: alert });
  }
  if (held !== null && passes(town, filter, held.alert)) {
    rows.push({ alert: town.alerts.get(held.alert.id) ?? held.latest, orderedAs: held.alert });
  }
  return rows.sort((a, b) => order(a.orderedAs, b.orderedAs)).map((row) => row.alert);
}

function order(a: Alert, b: Alert): number {
  return (
    Number(a.acknowledged_at !== null) - Number(b.acknowledged_at !== null) ||
    RANK[a.severity] - RANK[b.severity] ||
    Date.parse(b.raised_at) - Date.parse(a.raised_at) ||
    b.id - a.id
  );
}

function passes(town: Town, filter: Filter, alert: Alert): boolean {
  if (standingOf(alert) !== filter.standing) return false;
  if (filter.ranks.size > 0 && !filter.ranks.has(RANK[alert.severity])) return false;
  if (filter.unacknowledgedOnly && alert.acknowledged_at !== null) return false;
  const asset = assetOf(town, alert);
  if (asset === undefined ? narrowsPlaces(filter) : !isAmong(filter, asset)) return false;
  return matches(filter.text, [
    ...texts(alert.text),
    ...(asset ? searchTexts(asset) : []),
    alert.device,
  ]);
}

function narrowsPlaces({ families, kinds, zones }: Filter): boolean {
  return families.size + kinds.size + zones.size > 0;
}

/** Whether an asset is of the families, kinds and zones that are asked for. */
export function isAmong({ families, kinds, zones }: Filter, asset: Asset): boolean {
  return (
    (families.size === 0 || families.has(asset.family)) &&
    (kinds.size === 0 || kinds.has(asset.kind)) &&
    (zones.size === 0 || (asset.zone !== null && zones.has(asset.zone)))
  );
}

function texts(label: Label): string[] {
  return [label.zh, label.en];
}

/** Every word of the query occurs somewhere, in either language. */
export function matches(query: string, where: readonly string[]): boolean {
  const all = where.join("\n").toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

/** The assets that pass the filter, abnormal ones first, then by name; the list behind the map. */
export function listAssets(town: Town, filter: Filter): Asset[] {
  const passing = [...town.assets.values()].filter((asset) => {
    if (!isAmong(filter, asset)) return false;
    const severity = town.shown.get(asset.number)?.severity ?? 0;
    if (filter.ranks.size > 0 && !(severity !== 0 && filter.ranks.has(severity))) return false;
    return matches(filter.text, searchTexts(asset));
  });
  const weight = (asset: Asset): number => town.shown.get(asset.number)?.severity || 9;
  return passing.sort((a, b) => weight(a) - weight(b) || a.number - b.number);
}

/** The asset that an alert is about. */
export function assetOf(town: Town, alert: Alert): Asset | undefined {
  return alert.asset_number === null ? undefined : town.assets.get(alert.asset_number);
}

/** The open alerts of one asset, worst and newest first. */
export function alertsOf(town: Town, asset: number): Alert[] {
  return [...town.alerts.values()].filter((alert) => alert.asset_number === asset).sort(order);
}

export interface Count {
  open: number;
  unacknowledged: number;
}

/** Open alerts by severity. */
export function countAlerts(town: Town): Record<Rank, Count> {
  const counts: Record<Rank, Count> = {
    1: { open: 0, unacknowledged: 0 },
    2: { open: 0, unacknowledged: 0 },
    3: { open: 0, unacknowledged: 0 },
    4: { open: 0, unacknowledged: 0 },
  };
  for (const alert of town.alerts.values()) {
    if (!rings(alert)) continue;
    const count = counts[RANK[alert.severity]];
    count.open += 1;
    if (alert.acknowledged_at === null) count.unacknowledged += 1;
  }
  return counts;
}

/** The row `by` steps from the chosen one; the first or last when none is chosen. It stops at the ends. */
export function step<T extends { id: number }>(list: readonly T[], chosen: number | null, by: 1 | -1): T | undefined {
  const at = list.findIndex(({ id }) => id === chosen);
  if (at < 0) return by > 0 ? list[0] : list.at(-1);
  return list[Math.min(list.length - 1, Math.max(0, at + by))];
}

/** The next alert that nobody has acknowledged, after the chosen one and round again. */
export function nextUnacknowledged(list: readonly Alert[], chosen: number | null): Alert | undefined {
  return nextOf(list, chosen, (alert) => alert.acknowledged_at === null);
}

/** The next row that is wanted, after the chosen one and round again. */
export function nextOf<T extends { id: number }>(list: readonly T[], chosen: number | null, isWanted: (row: T) => boolean): T | undefined {
  const at = list.findIndex(({ id }) => id === chosen);
  return [...list.slice(at + 1), ...list.slice(0, at + 1)].find(isWanted);
}

/** Free bays of all: `12/40`; of bays of which nothing is known it says `12–15/40`, and `?/40` when none is known. */
export function lotText({ free, known, bays }: { free: number; known: number; bays: number }): string {
  const most = free + bays - known;
  return `${known === 0 ? "?" : most === free ? free : `${free}–${most}`}/${bays}`;
}

/** Free and known bays of every lot, by the lot's number. */
export function lotCounts(town: Town): Map<number, { free: number; known: number; bays: number }> {
  const lots = new Map<string, number>();
  for (const asset of town.assets.values()) {
    if (asset.kind === "parking-lot") lots.set(asset.id, asset.number).set(String(asset.number), asset.number);
  }
  const counts = new Map<number, { free: number; known: number; bays: number }>();
  for (const asset of town.assets.values()) {
    const lot = asset.kind === "parking-bay" && asset.parent !== null ? lots.get(asset.parent) : undefined;
    if (lot === undefined) continue;
    const count = counts.get(lot) ?? { free: 0, known: 0, bays: 0 };
    const shown = town.shown.get(asset.number);
    count.bays += 1;
    // A bay that is silent or doubtful counts neither as free nor as taken.
    if (shown !== undefined && shown.state !== null && shown.freshness === "fresh" && shown.grade !== "bad") {
      count.known += 1;
      if (shown.state === 0) count.free += 1;
    }
    counts.set(lot, count);
  }
  return counts;
}
