/**
 * What the console knows of the town, and the one pure function that changes it.
 *
 * A snapshot (map, then alerts) sets it; events of the live feed move it on. Nothing here reads a clock, the network or the
 * page. Maps are copied once per batch of events and only when touched, so a view may compare by identity.
 */

import type { Alert, AssetFeature, Case, Family, Kind, Label, MapAnswer, SeverityName } from "../api/types";
import type { FeedPosition, LiveEvent, Shown, ValueChange } from "../live/events";
import { anchor, type LonLat } from "./geometry";

/** What does not change about an asset between two snapshots. */
export interface Asset {
  number: number;
  /** The town's own id of it, such as a manhole's plate. */
  id: string;
  kind: Kind;
  family: Family;
  name: Label;
  parent: string | null;
  zone: string | null;
  street: string | null;
  /** Where it stands on the map, in the map's coordinates. */
  anchor: LonLat;
  /** Where it is, in WGS-84. */
  place: LonLat;
  feature: AssetFeature;
}

export interface Town {
  /** The position up to which everything is known; nothing before the first snapshot. */
  position: FeedPosition | null;
  assets: ReadonlyMap<number, Asset>;
  /** The numbers of the assets by their ids. */
  numbers: ReadonlyMap<string, number>;
  shown: ReadonlyMap<number, Shown>;
  alerts: ReadonlyMap<number, Alert>;
  /** Which way the severity of an alert went last, of those that this page saw move. */
  moved: ReadonlyMap<number, "up" | "down">;
  /** The cases that are not closed. */
  cases: ReadonlyMap<number, Case>;
  /** Newest values by `pointKey`, of the assets that this page asked for. */
  values: ReadonlyMap<string, ValueChange>;
  /** Why the map must be read again; nothing when the town is whole. */
  reload: "epoch" | "gap" | null;
  /** The hub's clock minus ours, milliseconds: ages are told in the hub's time. */
  clockOffsetMs: number;
}

export const EMPTY_TOWN: Town = {
  position: null,
  assets: new Map(),
  numbers: new Map(),
  shown: new Map(),
  alerts: new Map(),
  moved: new Map(),
  cases: new Map(),
  values: new Map(),
  reload: null,
  clockOffsetMs: 0,
};

/** The key of a point in `Town.values`. */
export function pointKey(device: string, metric: string): string {
  return `${device}/${metric}`;
}

/** An alert that somebody still has to look at: it stands, or nobody has acknowledged it. */
export function isOpen(alert: Alert): boolean {
  return alert.active || alert.acknowledged_at === null;
}

/** The town of a snapshot. `alerts` and `cases` must have been read after `map`, so that none falls between them. */
export function fromSnapshot(map: MapAnswer, alerts: Alert[], cases: Case[], previous: Town, nowMs: number): Town {
  const features = map.features.filter((feature): feature is AssetFeature => feature.properties.kind !== undefined);
  return {
    position: { epoch: String(map.townhub.epoch), seq: map.townhub.seq },
    assets: new Map(features.map((feature) => [feature.id, toAsset(feature)])),
    numbers: new Map(features.map((feature) => [String(feature.properties.asset), feature.id])),
    shown: new Map(features.map((feature) => [feature.id, toShown(feature)])),
    alerts: new Map(alerts.filter(isOpen).map((alert) => [alert.id, alert])),
    moved: previous.moved,
    cases: new Map(cases.filter(isUnderway).map((one) => [one.id, one])),
    values: previous.values,
    reload: null,
    clockOffsetMs: Date.parse(map.townhub.at) - nowMs,
  };
}

/** A case that somebody still has to move. */
export function isUnderway(one: Case): boolean {
  return one.stage !== "closed";
}

function toAsset(feature: AssetFeature): Asset {
  const { asset, kind, family, name, parent, zone, street, position } = feature.properties;
  const at = anchor(feature.geometry);
  return {
    number: feature.id,
    id: String(asset),
    kind,
    family,
    name,
    parent: parent === null ? null : String(parent),
    zone: zone === null ? null : String(zone),
    street: street ?? null,
    anchor: at,
    place: position ?? at,
    feature,
  };
}

function toShown({ properties }: AssetFeature): Shown {
  const { severity, acknowledged, freshness, state, grade } = properties;
  // An asset that no device observes has nothing that could grow old.
  return { severity, acknowledged, freshness: freshness ?? "fresh", state, grade };
}

/** The town after `events`, heard at `nowMs` of our own clock. */
export function reduce(town: Town, events: readonly LiveEvent[], nowMs: number): Town {
  const draft = new Draft(town);
  for (const event of events) draft.take(event, nowMs);
  return draft.done();
}

/** The town after an answer that carries an alert, such as an acknowledgement's. */
export function withAlert(town: Town, alert: Alert): Town {
  const draft = new Draft(town);
  draft.takeAlert(alert);
  return draft.done();
}

/** The town after an answer that carries a case, such as a move's. */
export function withCase(town: Town, one: Case): Town {
  const draft = new Draft(town);
  draft.takeCase(one);
  return draft.done();
}

const WEIGHT: Record<SeverityName, number> = { critical: 4, major: 3, minor: 2, info: 1 };

/** Copies on the first write, so a batch of a thousand states costs one copy. */
class Draft {
  private readonly next: Town;
  private shown: Map<number, Shown> | null = null;
  private alerts: Map<number, Alert> | null = null;
  private cases: Map<number, Case> | null = null;
  private values: Map<string, ValueChange> | null = null;

  constructor(town: Town) {
    this.next = { ...town };
  }

  done(): Town {
    return this.next;
  }

  take(event: LiveEvent, nowMs: number): void {
    const { position } = this.next;
    // Before a snapshot there is nothing to move on; after a break only a new snapshot counts.
    if (position === null || this.next.reload !== null) return;
    if (event.type === "reload") {
      this.next.reload = event.reason;
      return;
    }
    if (event.at.epoch !== position.epoch) {
      this.next.reload = "epoch";
      return;
    }
    if (event.type === "hello" || event.type === "beat") {
      if (!Number.isNaN(event.serverMs)) this.next.clockOffsetMs = event.serverMs - nowMs;
      return;
    }
    if (event.type === "value") {
      // Values are not part of the snapshot, so their own time orders them.
      for (const change of event.changes) this.takeValue(change);
      return;
    }
    if (event.at.seq <= position.seq) return;
    this.next.position = event.at;
    if (event.type === "alert") this.takeAlert(event.alert);
    else if (event.type === "case") this.takeCase(event.case);
    else if (event.type === "state") for (const [asset, shown] of event.changes) this.takeShown(asset, shown);
  }

  private takeShown(asset: number, shown: Shown): void {
    if (!this.next.assets.has(asset)) {
      // An asset that came after our snapshot: only a new one tells where it lies.
      this.next.reload = "gap";
      return;
    }
    this.shown ??= new Map(this.next.shown);
    this.shown.set(asset, shown);
    this.next.shown = this.shown;
  }

  /** The list may already hold a newer version: the answer to an acknowledgement overtakes the feed. */
  takeAlert(alert: Alert): void {
    const known = this.next.alerts.get(alert.id);
    if (known !== undefined && known.version > alert.version) return;
    this.alerts ??= new Map(this.next.alerts);
    if (known !== undefined && known.severity !== alert.severity) {
      const way = WEIGHT[alert.severity] > WEIGHT[known.severity] ? "up" : "down";
      this.next.moved = new Map(this.next.moved).set(alert.id, way);
    }
    if (isOpen(alert)) this.alerts.set(alert.id, alert);
    else this.alerts.delete(alert.id);
    this.next.alerts = this.alerts;
  }

  takeCase(one: Case): void {
    const known = this.next.cases.get(one.id);
    if (known !== undefined && known.version > one.version) return;
    this.cases ??= new Map(this.next.cases);
    if (isUnderway(one)) this.cases.set(one.id, one);
    else this.cases.delete(one.id);
    this.next.cases = this.cases;
  }

  private takeValue(change: ValueChange): void {
    const key = pointKey(change.device, change.metric);
    const known = this.next.values.get(key);
    if (known !== undefined && known.observedAtMs > change.observedAtMs) return;
    this.values ??= new Map(this.next.values);
    this.values.set(key, change);
    this.next.values = this.values;
  }
}
