/**
 * The hub's words on the wire, typed by hand from the contract until `npm run gen:api` can read the hub's own document.
 * Times are RFC 3339 texts in UTC unless the name ends in `_ms`.
 */

import type { Feature, FeatureCollection, Geometry } from "geojson";

/** A text in both languages of the town. */
export interface Label {
  zh: string;
  en: string;
}

export type SeverityName = "critical" | "major" | "minor" | "info";
/** 1 critical, 2 major, 3 minor, 4 info. */
export type Rank = 1 | 2 | 3 | 4;
export type Family = "pipes" | "gates" | "parking";
export type Kind =
  | "manhole"
  | "pipe"
  | "rain-gauge"
  | "canal-gauge"
  | "sluice-gate"
  | "parking-bay"
  | "parking-lot";
export type Freshness = "fresh" | "stale" | "dead" | "never";
export type Grade = "good" | "uncertain" | "bad";
/** Why a value is not simply good; a closed list of the hub. */
export type Reason =
  | "range"
  | "rate"
  | "frozen"
  | "sentinel"
  | "clock"
  | "stale"
  | "late"
  | "duplicate"
  | "comm"
  | "state"
  | "computed"
  | "rule";

/** The one value that stands for an asset. */
export interface Headline {
  device: string;
  metric: string;
  label: Label;
  unit: string;
  value: number | null;
  state: Label | null;
  quality: Grade;
  reason: Reason | null;
  observed_at: string | null;
}

/** What the map says of an asset. */
export interface AssetProperties {
  asset: number | string;
  kind: Kind;
  family: Family;
  name: Label;
  zone: number | string | null;
  parent: number | string | null;
  street?: string | null;
  severity: 0 | Rank;
  acknowledged: boolean;
  freshness: Freshness | null;
  grade: Grade;
  state: number | null;
  headline: Headline | null;
}

export type AssetFeature = Feature<Geometry, AssetProperties> & { id: number };

/** The map's answer; `townhub` says where the live feed goes on from. */
export interface MapAnswer extends FeatureCollection<Geometry, AssetProperties> {
  townhub: { epoch: number | string; seq: number; at: string };
  /** Playback only: the alerts that stood at that time. */
  alerts?: Alert[];
}

/** The ground of the map, and how to draw it. */
export interface BaseMap {
  base: "schematic" | "file" | "tianditu" | "xyz";
  crs: "wgs84" | "gcj02";
  kind: "schematic" | "geojson" | "raster" | "vector";
  layers: string[];
  tiles: string | null;
  data: string | null;
  parts: string[];
  min_zoom: number;
  max_zoom: number;
  bounds: [number, number, number, number] | null;
  attribution: Label | null;
  /** Why the configured one is not drawn. */
  problem: string | null;
}

export type ZonesAnswer = FeatureCollection<Geometry, { zone: string; name: Label }>;

export interface Alert {
  id: number;
  version: number;
  device: string;
  metric: string | null;
  name: string;
  kind: "limit" | "state" | "no_data";
  asset: number | string | null;
  asset_number: number | null;
  severity: SeverityName;
  text: Label;
  value: number | null;
  peak: number | null;
  limit: number | null;
  clear: number | null;
  unit: string | null;
  active: boolean;
  since: string;
  raised_at: string;
  acknowledged_at: string | null;
  acknowledged_by: string | null;
  note: string | null;
  cleared_at: string | null;
}

/** A limit of a point; one of `above`, `below`, `equals` is given. */
export interface Limit {
  name: string;
  severity: SeverityName;
  above?: number | null;
  below?: number | null;
  equals?: number | null;
  clear?: number | null;
  on_delay_s: number;
  text: Label;
}

/** A point of a device with its newest value. */
export interface Point {
  metric: string;
  label: Label;
  unit: string;
  value: number | null;
  state: Label | null;
  grade: Grade;
  reason: Reason | null;
  observed_at: string | null;
  received_at: string | null;
  range: [number, number] | null;
  states: { code: number; name: string; label: Label }[] | null;
  limits: Limit[];
}

/** A message that the hub could not read, kept for a look. */
export interface Undecoded {
  received_at: string;
  topic: string;
  reason: string;
  message: string;
  payload: string;
  size: number;
}

export interface Device {
  id: string;
  name: Label;
  profile: string;
  asset: number | string | null;
  kind: Kind | null;
  connected: boolean;
  last_heard: string | null;
  freshness: Freshness;
  points: Point[];
  undecoded: Undecoded[];
}

export interface AssetDetail {
  asset: number | string;
  number: number;
  kind: Kind;
  family: Family;
  name: Label;
  zone: number | string | null;
  parent: number | string | null;
  devices: Device[];
}

/** A device profile in force, as far as the console shows it. */
export interface ProfileInForce {
  id: string;
  file: string;
  version: string;
  is_outdated: boolean;
  is_removed: boolean;
}

/** A profile file that is not in force. */
export interface RefusedProfile {
  file: string;
  errors: string[];
  since: string | null;
  /** The profile whose former version runs on. */
  running: string | null;
}

export interface ProfilesAnswer {
  profiles: ProfileInForce[];
  refused: RefusedProfile[];
}

export interface Status {
  version: string;
  epoch: number | string;
  at: string;
  town: { name: Label; center: [number, number]; zoom: number };
  basemap: string;
  devices: { total: number; online: number; stale: number; dead: number; never: number };
}

export interface SessionAnswer {
  user: { name: string; role: string; zones: string[] | null };
  role: Label;
  /** All that may be done with this session. */
  rights: string[];
  must_change: boolean;
}

/** `[start_ms, mean, min, max, last, count, good_share]` */
export type Bucket = [
  number,
  number | null,
  number | null,
  number | null,
  number | null,
  number,
  number,
];

export interface SeriesAnswer {
  device: string;
  metric: string;
  unit: string;
  from: string;
  to: string;
  step_s: number;
  points: Bucket[];
}

/** An error as RFC 9457 puts it; `code` is the stable word that the console speaks. */
export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  code: string;
}
