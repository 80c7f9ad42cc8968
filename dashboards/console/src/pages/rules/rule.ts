/** Rules as the hub tells them, made ready to be read and changed: fields, groups, patches, faults. Pure. */

import type { Schemas } from "../../api/hub";
import type { Label, SeverityName } from "../../api/types";
import { RANK } from "../../town/select";

export type Effective = Schemas["EffectiveRule"];
export type Override = Schemas["OverridePage"];
export type OwnPage = Schemas["OwnPage"];
export type Patch = Schemas["RulePatch"];
export type Scope = Schemas["RuleScope"];
export type Kind = Schemas["AlertKind"];
export type Side = "above" | "below";

export const SEVERITIES: readonly SeverityName[] = ["critical", "major", "minor", "info"];
/** The rules that have a ladder of limits. */
export const LADDERS: readonly Kind[] = ["limit", "rise", "fall", "sum"];
/** The name for no schedule. */
export const ALWAYS = "always";

/** A step of a ladder. */
export interface Rung {
  severity: SeverityName;
  limit: number;
  clear: number;
  text: Label | null;
}

/** What a rule says, whatever its kind; what it does not say is null. */
export interface Fields {
  text: Label;
  for: string;
  clear_for: string;
  re_alarm: string | null;
  schedule: string | null;
  flap: { times: number; within: string } | null;
  side: Side | null;
  /** Mildest first. */
  rungs: Rung[];
  /** How far `rise`, `fall`, `sum` and `flat` look back. */
  window: string | null;
  band: number | null;
  equals: number | string | null;
  when: string | null;
  after: string | null;
  severity: SeverityName | null;
}

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string | null => (typeof value === "string" ? value : null);
const number = (value: unknown): number | null => (typeof value === "number" ? value : null);
const severity = (value: unknown): SeverityName | null => SEVERITIES.find((one) => one === value) ?? null;

function label(value: unknown): Label | null {
  if (typeof value === "string") return { zh: value, en: value };
  return isObject(value) ? { zh: text(value.zh) ?? "", en: text(value.en) ?? "" } : null;
}

/** Reads a rule's fields as the hub lists them, or as somebody wrote them (one limit without a ladder too). */
export function fieldsOf(rule: unknown): Fields {
  const given = isObject(rule) ? rule : {};
  const steps: unknown[] = Array.isArray(given.ladder) ? given.ladder : "above" in given || "below" in given ? [given] : [];
  const first = steps.find(isObject);
  const side: Side | null = first === undefined ? null : "below" in first ? "below" : "above";
  const rungs = steps.filter(isObject).map((step): Rung => {
    const limit = number(step.above) ?? number(step.below) ?? Number.NaN;
    return {
      severity: severity(step.severity) ?? severity(given.severity) ?? "minor",
      limit,
      clear: number(step.clear) ?? limit,
      text: step === given ? null : label(step.text),
    };
  });
  const flap = isObject(given.flap) ? { times: number(given.flap.times) ?? 0, within: text(given.flap.within) ?? "10min" } : null;
  return {
    text: label(given.text) ?? { zh: "", en: "" },
    for: text(given.for) ?? "0s",
    clear_for: text(given.clear_for) ?? "0s",
    re_alarm: text(given.re_alarm),
    schedule: text(given.schedule),
    flap,
    side,
    rungs,
    window: text(given.rise) ?? text(given.fall) ?? text(given.sum) ?? text(given.flat),
    band: number(given.band),
    equals: number(given.equals) ?? text(given.equals),
    when: text(given.when),
    after: text(given.after),
    severity: severity(given.severity),
  };
}

/** The kind of a rule as somebody wrote it. */
export function kindOf(rule: unknown): Kind {
  const given = isObject(rule) ? rule : {};
  if ("when" in given) return "condition";
  if ("equals" in given) return "state";
  for (const kind of ["flat", "rise", "fall", "sum"] as const) if (kind in given) return kind;
  return "limit";
}

export function originOf(rule: Effective): { profile: string } | { own: string } {
  const origin: Json = rule.origin;
  const own = text(origin.own);
  return own === null ? { profile: text(origin.profile) ?? "" } : { own };
}

/** The worst severity that a rule knows. */
export function worstOf(fields: Fields): SeverityName {
  return fields.severity ?? fields.rungs.at(-1)?.severity ?? "info";
}

// --- the list ---

/** Devices for which a rule is the same, to the letter. */
export interface Group {
  key: string;
  rule: Effective;
  devices: string[];
}

/** Rules that are the same for many devices as one; those that began as one stand together, the most usual first. */
export function groupRules(rules: readonly Effective[]): Group[] {
  const families = new Map<string, Map<string, Group>>();
  for (const rule of rules) {
    const { device, asset: _asset, zone: _zone, ...same } = rule;
    const origin = originOf(rule);
    const family = JSON.stringify([origin, rule.metric, rule.name]);
    const key = JSON.stringify(same);
    const groups = families.get(family) ?? new Map<string, Group>();
    families.set(family, groups);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { key, rule, devices: [device] });
    else group.devices.push(device);
  }
  return [...families.values()].flatMap((groups) => [...groups.values()].sort((a, b) => b.devices.length - a.devices.length));
}

export interface Wanted {
  /** In a device's id or name, an asset's id, a rule's name or text. */
  q: string;
  metric: string;
  /** `profile` untouched, `override`, `own`, `off` not in force. */
  from: string;
}

export function isWanted(rule: Effective, wanted: Wanted, nameOf: (device: string) => string): boolean {
  if (wanted.metric !== "" && (rule.metric ?? "") !== wanted.metric) return false;
  const isOwn = "own" in originOf(rule);
  const isChanged = Object.keys(rule.from).length > 0;
  if (wanted.from === "profile" && (isOwn || isChanged)) return false;
  if (wanted.from === "override" && !isChanged) return false;
  if (wanted.from === "own" && !isOwn) return false;
  if (wanted.from === "off" && rule.in_force) return false;
  if (wanted.from === "problem" && rule.problems.length === 0) return false;
  const q = wanted.q.trim().toLowerCase();
  if (q === "") return true;
  const said = fieldsOf(rule.rule).text;
  const places = [rule.device, rule.asset ?? "", nameOf(rule.device), rule.name, rule.metric ?? "", said.zh, said.en];
  return places.some((place) => place.toLowerCase().includes(q));
}

// --- scopes ---

export type Reach = "device" | "zone" | "kind" | "zone_kind" | "town";
export const REACHES: readonly Reach[] = ["device", "zone_kind", "zone", "kind", "town"];
/** From weak to strong, as the hub ranks them and names them in `from`. */
const STRENGTH: Record<string, number> = { town: 0, kind: 1, zone: 2, "zone and kind": 3, zone_kind: 3, device: 4 };

export function reachOf(scope: Scope): Reach {
  if (scope.device) return "device";
  if (scope.zone) return scope.kind ? "zone_kind" : "zone";
  return scope.kind ? "kind" : "town";
}

/** Where a change of this reach counts, seen from one device. Nothing when the device has no zone or no kind for it. */
export function scopeFor(reach: Reach, at: { device: string; zone: string | null; kind: Schemas["AssetKind"] | null }): Scope | null {
  const { device, zone, kind } = at;
  switch (reach) {
    case "device":
      return { device };
    case "zone":
      return zone === null ? null : { zone };
    case "kind":
      return kind === null ? null : { kind };
    case "zone_kind":
      return zone === null || kind === null ? null : { zone, kind };
    case "town":
      return {};
  }
}

const sameText = (a?: string | null, b?: string | null): boolean => (a ?? null) === (b ?? null);

/** The override that is already there for the same place and the same rules. */
export function findOverride(overrides: readonly Override[], scope: Scope, select: Schemas["RuleSelector"]): Override | null {
  const found = overrides.find(
    (page) =>
      sameText(page.scope.device, scope.device) &&
      sameText(page.scope.zone, scope.zone) &&
      sameText(page.scope.kind, scope.kind) &&
      sameText(page.select.profile, select.profile) &&
      sameText(page.select.metric, select.metric) &&
      sameText(page.select.rule, select.rule),
  );
  return found ?? null;
}

/** Whether an override means this rule of this device. */
export function means(page: Override, rule: Effective, kind: string | null, profile: string | null): boolean {
  const { scope, select } = page;
  return (
    (!scope.device || scope.device === rule.device) &&
    (!scope.zone || scope.zone === rule.zone) &&
    (!scope.kind || scope.kind === kind) &&
    (!select.profile || select.profile === profile) &&
    (!select.metric || select.metric === rule.metric) &&
    (!select.rule || select.rule === rule.name) &&
    !("own" in originOf(rule))
  );
}

/** Overrides that are stronger than a change of this reach and set one of its fields: there it will not be seen. */
export function strongerThan(reach: Reach, rule: Effective, fields: readonly string[]): string[] {
  const mine = STRENGTH[reach] ?? 0;
  const found = fields.flatMap((field) => {
    const source = rule.from[field];
    return source !== undefined && (STRENGTH[source.scope] ?? 0) > mine ? [source.override] : [];
  });
  return [...new Set(found)];
}

/** A page's id out of words: small letters, digits, dashes; free among those that are taken. */
export function newId(parts: readonly (string | null | undefined)[], taken: ReadonlySet<string>): string {
  const plain = parts
    .filter((part): part is string => typeof part === "string" && part !== "")
    .join("-")
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 48);
  const base = plain === "" || plain === ALWAYS ? "rule" : plain;
  for (let n = 1; ; n += 1) {
    const id = n === 1 ? base : `${base}-${n}`;
    if (!taken.has(id)) return id;
  }
}

// --- changes ---

/** A form's values by path: `rungs.critical.limit`, `for`, `text.zh`. */
export type Values = Readonly<Record<string, string | number | boolean | null>>;

/** What an override sets, by path. */
export function flatten(set: Patch): Values {
  const values: Record<string, string | number | boolean | null> = {};
  for (const [name, rung] of Object.entries(set.rungs ?? {})) {
    if (rung.limit !== undefined && rung.limit !== null) values[`rungs.${name}.limit`] = rung.limit;
    if (rung.clear !== undefined && rung.clear !== null) values[`rungs.${name}.clear`] = rung.clear;
  }
  for (const name of ["for", "clear_for", "severity", "after", "re_alarm", "schedule", "enabled"] as const) {
    const value = set[name];
    if (value !== undefined && value !== null) values[name] = value;
  }
  if (set.text) Object.assign(values, { "text.zh": set.text.zh, "text.en": set.text.en });
  if (set.flap) Object.assign(values, { "flap.times": set.flap.times, "flap.within": set.flap.within });
  return values;
}

/** The override's JSON that sets these values. */
export function unflatten(values: Values): Patch {
  const set: Record<string, unknown> = {};
  for (const [path, value] of Object.entries(values)) {
    const names = path.split(".");
    const last = names.pop() ?? "";
    let place = set;
    for (const name of names) place = (place[name] ??= {}) as Record<string, unknown>;
    place[last] = value;
  }
  return set as Patch;
}

/** What a rule says now, by the paths of a patch. */
export function valuesOf(fields: Fields, enabled: boolean): Values {
  const rungs = fields.rungs.flatMap((rung) => [
    [`rungs.${rung.severity}.limit`, rung.limit],
    [`rungs.${rung.severity}.clear`, rung.clear],
  ]);
  return {
    ...Object.fromEntries(rungs),
    for: fields.for,
    clear_for: fields.clear_for,
    re_alarm: fields.re_alarm ?? "0s",
    schedule: fields.schedule ?? ALWAYS,
    enabled,
    "text.zh": fields.text.zh,
    "text.en": fields.text.en,
    ...(fields.after === null ? {} : { after: fields.after }),
    ...(fields.severity === null ? (fields.rungs.length === 1 ? { severity: fields.rungs[0]?.severity ?? null } : {}) : { severity: fields.severity }),
    ...(fields.flap === null ? {} : { "flap.times": fields.flap.times, "flap.within": fields.flap.within }),
  };
}

/**
 * What an override is to set: what it sets already but for what is dropped, and what was touched and is another value
 * than is shown. Words and the guard against chatter are set whole.
 */
export function patchOf(already: Values, shown: Values, touched: Values, dropped: ReadonlySet<string>): Patch {
  const values: Record<string, string | number | boolean | null> = {};
  for (const [path, value] of Object.entries(already)) if (!dropped.has(path)) values[path] = value;
  for (const [path, value] of Object.entries(touched)) if (value !== shown[path]) values[path] = value;
  const now: Values = { ...shown, ...touched };
  for (const [one, other] of [["text.zh", "text.en"], ["flap.times", "flap.within"]] as const) {
    if (one in values || other in values) for (const path of [one, other]) values[path] = now[path] ?? (path === "flap.within" ? "10min" : "");
  }
  return unflatten(values);
}

/** The rule as it would be with these values. */
export function withValues(fields: Fields, values: Values): Fields {
  const as = <T>(path: string, old: T): T => (path in values ? (values[path] as T) : old);
  const schedule = as<string | null>("schedule", fields.schedule);
  const isOne = fields.rungs.length === 1;
  return {
    ...fields,
    for: as("for", fields.for),
    clear_for: as("clear_for", fields.clear_for),
    after: as("after", fields.after),
    re_alarm: as("re_alarm", fields.re_alarm),
    schedule: schedule === ALWAYS ? null : schedule,
    severity: fields.severity === null ? null : as("severity", fields.severity),
    text: { zh: as("text.zh", fields.text.zh), en: as("text.en", fields.text.en) },
    rungs: fields.rungs.map((rung) => ({
      ...rung,
      severity: isOne ? as("severity", rung.severity) : rung.severity,
      limit: as(`rungs.${rung.severity}.limit`, rung.limit),
      clear: as(`rungs.${rung.severity}.clear`, rung.clear),
    })),
  };
}

// --- faults ---

/** What is wrong with a ladder, before the hub says so. */
export type Fault =
  | { is: "number"; severity: SeverityName }
  | { is: "side"; severity: SeverityName; side: Side; clear: number; limit: number }
  | { is: "never"; severity: SeverityName; low: number; high: number }
  | { is: "always"; severity: SeverityName; low: number; high: number }
  | { is: "stuck"; severity: SeverityName; low: number; high: number }
  | { is: "order"; severity: SeverityName; than: SeverityName }
  | { is: "twice"; severity: SeverityName }
  | { is: "none" };

/** As the hub checks it: what would never be raised, always, or never return. `range` counts for limits of the value itself. */
export function faultsOf(side: Side, rungs: readonly Rung[], range: readonly [number, number] | null): Fault[] {
  if (rungs.length === 0) return [{ is: "none" }];
  const faults: Fault[] = [];
  const isAbove = side === "above";
  for (const { severity, limit, clear } of rungs) {
    if (!Number.isFinite(limit) || !Number.isFinite(clear)) {
      faults.push({ is: "number", severity });
      continue;
    }
    if (isAbove ? clear > limit : clear < limit) faults.push({ is: "side", severity, side, clear, limit });
    if (range === null) continue;
    const [low, high] = range;
    if (isAbove ? limit >= high : limit <= low) faults.push({ is: "never", severity, low, high });
    else if (isAbove ? limit < low : limit > high) faults.push({ is: "always", severity, low, high });
    else if (clear < low || clear > high) faults.push({ is: "stuck", severity, low, high });
  }
  const mildFirst = [...rungs].sort((a, b) => RANK[b.severity] - RANK[a.severity]);
  for (const [i, bad] of mildFirst.entries()) {
    const mild = mildFirst[i - 1];
    if (mild === undefined) continue;
    if (mild.severity === bad.severity) faults.push({ is: "twice", severity: bad.severity });
    else if (isAbove ? bad.limit < mild.limit || bad.clear < mild.clear : bad.limit > mild.limit || bad.clear > mild.clear) {
      faults.push({ is: "order", severity: bad.severity, than: mild.severity });
    }
  }
  return faults;
}
