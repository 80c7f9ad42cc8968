/**
 * The hub's words on the wire: what the hub's own document says (`schema.d.ts`), and by hand what it says too loosely for
 * the page, such as pairs of numbers and causes of several shapes.
 * Times are RFC 3339 texts in UTC unless the name ends in `_ms`.
 */

import type { Feature, FeatureCollection, Geometry } from "geojson";
import type { components } from "./schema";

type Schemas = components["schemas"];

/** A text in both languages of the town. */
export type Label = Schemas["Label"];

export type SeverityName = Schemas["Severity"];
/** 1 critical, 2 major, 3 minor, 4 info. */
export type Rank = 1 | 2 | 3 | 4;
export type Family = Schemas["Family"];
export type Kind = Schemas["AssetKind"];
export type Freshness = Schemas["Freshness"];
export type Grade = Schemas["Grade"];
/** Why a value is not simply good; a closed list of the hub. */
export type Reason = Schemas["Reason"];

/** The one value that stands for an asset. */
export type Headline = Schemas["Headline"];

/** What the map says of an asset. */
export interface AssetProperties {
  asset: number | string;
  kind: Kind;
  family: Family;
  name: Label;
  zone: number | string | null;
  parent: number | string | null;
  street?: string | null;
  /** Where it is in WGS-84; only on a map in other coordinates. */
  position?: [number, number];
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
  /** `limit`, `state`, `no_data`, and what later rules add. */
  kind: string;
  asset: number | string | null;
  asset_number: number | null;
  severity: SeverityName;
  /** The highest severity since it was raised. */
  worst?: SeverityName;
  /** It comes and goes so often that it is shown as one. */
  chattering?: boolean;
  /** The first of those that came together. */
  first_in_group?: boolean;
  /** How often it was raised while it chattered. */
  raised_count?: number;
  standing?: Standing;
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

/** Why an alert is set aside; all null when it is not. */
export interface Standing {
  shelved: { by: string; reason: string; at: string; until: string } | null;
  suppressed: { cause: SuppressionCause; at: string } | null;
  out_of_service: { by: string; reason: string; at: string } | null;
}

/** A silent gateway, an asset that this one hangs on, or a maintenance window with its number and reason. */
export type SuppressionCause = { gateway: string } | { upstream: string } | { maintenance: [number, string] };

/** What became of one alert of a bulk acknowledgement. */
export type BulkResult = Schemas["BulkResult"];

export type Right = Schemas["Right"];

export type Stage = Schemas["CaseStage"];
/** A step of a case that has a deadline. */
export type DueStep = Schemas["CaseStep"];
export type MoveKind =
  | "dispatch"
  | "accept"
  | "return"
  | "recall"
  | "handle"
  | "report"
  | "verify"
  | "reject"
  | "close";

export type Proof = { by: "sensor" } | { by: "site_check"; person: string; reason: string };

/** What people do about alerts. */
export interface Case {
  id: number;
  /** Grows with every event; a move names the version that it was made on. */
  version: number;
  asset: string | null;
  kind: Kind | null;
  zone: string | null;
  device: string | null;
  title: Label;
  severity: SeverityName;
  stage: Stage;
  unit?: string;
  person?: string | null;
  handler?: string;
  verifier?: string;
  proof?: Proof;
  /** The one that opened it first. */
  alerts: number[];
  opened_at: string;
  /** Null for the hub. */
  opened_by: string | null;
  deadlines: { dispatched_at: string; accept: string | null; arrive: string | null; fix: string } | null;
  arrived_at: string | null;
  reported_at: string | null;
  closed_at: string | null;
  overdue: DueStep | null;
  escalation: number;
  reopens: number | null;
  reopened_as: number | null;
}

/** One event of a case; which members it has depends on `what`. */
export interface CaseEvent {
  case: number;
  version: number;
  at: string;
  /** Null for the hub. */
  actor: string | null;
  note: string | null;
  what: string;
  severity?: SeverityName;
  alert?: number;
  reopens?: number | null;
  unit?: string;
  person?: string | null;
  reason?: string;
  photos?: string[];
  proof?: Proof;
  step?: DueStep;
  level?: number;
  by?: number;
}

/** What a sensor still lacks before it says that all is well. */
export type Lacking = { alert: number } & (
  | { missing: "clear"; value: number | null; clear: number | null; unit: string }
  | { missing: "hold"; until: string }
  | { missing: "fresh"; observed_at: string | null }
  | { missing: "good" }
);

export interface CaseDetail {
  case: Case;
  allowed: MoveKind[];
  lacking: Lacking[];
  suggested_unit: string | null;
  events: CaseEvent[];
}

/** The body of a move, without the version. */
export interface MoveBody {
  note?: string;
  unit?: string;
  person?: string;
  reason?: string;
  site_check?: string;
  photos?: string[];
}

export type Unit = Schemas["Unit"];

export type CommandPhase = Schemas["CommandState"];

/** What a refusal or an end rests on. */
export interface Fact {
  name: string;
  value: number | null;
  unit: string;
  grade?: Grade;
  age_s?: number;
}

/** An order to a device. */
export interface Command {
  id: number;
  version: number;
  device: string;
  asset: string | null;
  asset_number: number | null;
  command: string;
  label: Label;
  unit: string;
  target: number | null;
  present: number | null;
  value: number | null;
  state: CommandPhase;
  step: "writing" | "in_doubt" | "echo" | "moving" | null;
  cause: string | null;
  text: Label | null;
  facts: Fact[];
  emergency: boolean;
  /** Why another person has to confirm. */
  second_person: Label | null;
  selected_by: string;
  selected_at: string;
  confirmed_by: string | null;
  confirmed_at: string | null;
  sent_at: string | null;
  deadline: string | null;
  ended_at: string | null;
  note: string | null;
}

export interface CommandAnswer {
  command: Command;
  /** What we confirm it with, once. */
  challenge: string | null;
}

/** A command as a profile describes it. */
export interface CommandSpec {
  name: string;
  label: Label;
  emergency: boolean;
  /** Null for a command without a target. */
  arg: { unit: string; range: [number, number]; step: number | null; max_change: number | null; from: string | null } | null;
}

/** A limit of a point; one of `above`, `below`, `equals` is given. */
export type Limit = Schemas["Limit"];

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
export type Undecoded = Schemas["Undecoded"];

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
  /** The names of what it may be told. */
  commands?: string[];
  /** The command that has not ended. */
  command?: Command | null;
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

export type Status = Schemas["Status"];
export type Trouble = Schemas["Trouble"];

export type SessionAnswer = Schemas["Session"];

/** `[start_ms, mean, min, max, last, count, good_share, time_mean, occupied_share]` */
export type Bucket = [
  number,
  number | null,
  number | null,
  number | null,
  number | null,
  number,
  number,
  (number | null)?,
  (number | null)?,
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
  /** Further members say more about some codes. */
  [member: string]: unknown;
}
