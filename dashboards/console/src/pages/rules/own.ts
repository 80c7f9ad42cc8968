/** A rule of the town's own as a form holds it, and the JSON that it stands for. Pure. */

import type { Schemas } from "../../api/hub";
import type { SeverityName } from "../../api/types";
import { RANK } from "../../town/select";
import { ALWAYS, fieldsOf, kindOf, LADDERS, type Kind, type OwnPage, type Rung, type Side } from "./rule";

/** The kinds that somebody may write; silence is the profile's and is changed by an override. */
export const OWN_KINDS = ["limit", "rise", "fall", "sum", "state", "flat", "condition"] as const satisfies readonly Kind[];
export type OwnKind = (typeof OWN_KINDS)[number];

export interface Input {
  name: string;
  device: string;
  metric: string;
  /** Empty: as the hub has it. */
  maxAge: string;
}

export interface OwnDraft {
  device: string;
  kind: OwnKind;
  metric: string;
  side: Side;
  rungs: { severity: SeverityName; limit: number | null; clear: number | null }[];
  window: string;
  band: number | null;
  equals: string;
  when: string;
  inputs: Input[];
  severity: SeverityName;
  for: string;
  clearFor: string;
  reAlarm: string;
  schedule: string;
  zh: string;
  en: string;
  /** What the form has no field for, kept as it was. */
  rest: Readonly<Record<string, unknown>>;
}

export function newDraft(device = "", metric = ""): OwnDraft {
  return {
    device, kind: "limit", metric, side: "above",
    rungs: [{ severity: "minor", limit: null, clear: null }],
    window: "1h", band: 0.01, equals: "", when: "", inputs: [{ name: "a", device, metric, maxAge: "" }],
    severity: "minor", for: "1min", clearFor: "3min", reAlarm: "0s", schedule: ALWAYS, zh: "", en: "", rest: {},
  };
}

export function draftOf(page: OwnPage): OwnDraft {
  const fields = fieldsOf(page.rule);
  const empty = newDraft(page.device, page.metric ?? "");
  const kind = OWN_KINDS.find((one) => one === kindOf(page.rule)) ?? "limit";
  return {
    ...empty,
    kind,
    side: fields.side ?? "above",
    rungs: fields.rungs.length > 0 ? fields.rungs.map(({ severity, limit, clear }) => ({ severity, limit, clear })) : empty.rungs,
    window: fields.window ?? empty.window,
    band: fields.band ?? empty.band,
    equals: fields.equals === null ? "" : String(fields.equals),
    when: fields.when ?? "",
    inputs: Object.entries(page.inputs ?? {}).map(([name, input]) => ({ name, device: input.device, metric: input.metric, maxAge: input.max_age ?? "" })),
    severity: fields.severity ?? "minor",
    for: fields.for,
    clearFor: fields.clear_for,
    reAlarm: fields.re_alarm ?? "0s",
    schedule: fields.schedule ?? ALWAYS,
    zh: fields.text.zh,
    en: fields.text.en,
    rest: fields.flap === null ? {} : { flap: fields.flap },
  };
}

/** The rungs as numbers, mildest first; what is not filled in is NaN. */
export function rungsOf(draft: OwnDraft): Rung[] {
  return draft.rungs
    .map(({ severity, limit, clear }) => ({ severity, limit: limit ?? Number.NaN, clear: clear ?? limit ?? Number.NaN, text: null }))
    .sort((a, b) => RANK[b.severity] - RANK[a.severity]);
}

/** What is sent: with a profile's keys. */
export function ownRuleOf(draft: OwnDraft): Schemas["OwnRule"] {
  const isLadder = LADDERS.includes(draft.kind);
  const side = draft.kind === "limit" ? draft.side : "above";
  const rungs = rungsOf(draft);
  const rule: Record<string, unknown> = {};
  if (draft.kind === "rise" || draft.kind === "fall" || draft.kind === "sum") rule[draft.kind] = draft.window;
  if (isLadder && rungs.length === 1) {
    const [one] = rungs;
    Object.assign(rule, { [side]: one?.limit, clear: one?.clear, severity: one?.severity });
  } else if (isLadder) {
    rule.ladder = rungs.map(({ severity, limit, clear }) => ({ severity, [side]: limit, clear }));
  }
  if (draft.kind === "state") rule.equals = draft.equals.trim() === "" || Number.isNaN(Number(draft.equals)) ? draft.equals.trim() : Number(draft.equals);
  if (draft.kind === "flat") Object.assign(rule, { flat: draft.window, band: draft.band });
  if (draft.kind === "condition") rule.when = draft.when.trim();
  if (!isLadder) rule.severity = draft.severity;
  rule.for = draft.for;
  rule.clear_for = draft.clearFor;
  if (draft.reAlarm !== "0s") rule.re_alarm = draft.reAlarm;
  if (draft.schedule !== ALWAYS) rule.schedule = draft.schedule;
  Object.assign(rule, draft.rest, { text: { zh: draft.zh.trim(), en: draft.en.trim() } });
  const inputs = draft.inputs.map(({ name, device, metric, maxAge }) => [
    name.trim(),
    { device: device.trim(), metric, ...(maxAge.trim() === "" ? {} : { max_age: maxAge.trim() }) },
  ]);
  return {
    device: draft.device.trim(),
    ...(draft.kind === "condition" ? { inputs: Object.fromEntries(inputs) } : { metric: draft.metric }),
    rule: rule as Schemas["OwnRule"]["rule"],
  };
}

/** The first thing that a draft lacks before it may be tried; nothing when the hub may judge it. */
export function lackOf(draft: OwnDraft): "device" | "metric" | "text" | "equals" | "when" | "inputs" | null {
  if (draft.device.trim() === "") return "device";
  if (draft.kind === "condition") {
    if (draft.when.trim() === "") return "when";
    if (draft.inputs.length === 0 || draft.inputs.some(({ name, device, metric }) => name.trim() === "" || device.trim() === "" || metric === "")) return "inputs";
  } else if (draft.metric === "") return "metric";
  if (draft.kind === "state" && draft.equals.trim() === "") return "equals";
  return draft.zh.trim() === "" || draft.en.trim() === "" ? "text" : null;
}
