/** Rules in words: conditions, scopes, patches, faults. Pure. */

import type { Schemas } from "../../api/hub";
import type { Label } from "../../api/types";
import { durationText, labelText } from "../../format";
import { wordOfCode, words, type Language } from "../../i18n";
import { assetKindText, limitText, severityText } from "../PageText";
import { milliseconds } from "./duration";
import { ALWAYS, originOf, type Effective, type Fault, type Fields, type Kind, type Patch, type Scope } from "./rule";
import { ruleWords, type RuleWord } from "./words";

export { assetKindText, limitText, severityText, whenText } from "../PageText";

export const spanText = (span: string | null, language: Language): string => durationText(milliseconds(span), language);

/** What a rule of steps compares; nothing for a plain limit, whose sign says all. */
export function conditionText(kind: Kind, fields: Fields, states: readonly Schemas["ProfileStateName"][], unit: string, language: Language): string {
  const say = ruleWords(language);
  switch (kind) {
    case "limit":
      return "";
    case "rise":
    case "fall":
    case "sum":
      return say(`cond.${kind}`, { window: spanText(fields.window, language) });
    case "state": {
      const state = states.find(({ code, name }) => code === fields.equals || name === fields.equals);
      return say("cond.state", { state: state === undefined ? String(fields.equals) : labelText(state.label, language) });
    }
    case "flat":
      return say("cond.flat", { window: spanText(fields.window, language), band: limitText(fields.band ?? 0, unit, language) });
    case "no_data":
      return say("cond.no_data", { after: spanText(fields.after, language) });
    case "condition":
      return fields.when ?? "";
  }
}

export function delayText(fields: Fields, language: Language): string {
  const say = ruleWords(language);
  const [on, off] = [milliseconds(fields.for), milliseconds(fields.clear_for)];
  const parts = { on: durationText(on, language), off: durationText(off, language) };
  if (on > 0 && off > 0) return say("delay.both", parts);
  if (on > 0) return say("delay.on", parts);
  return off > 0 ? say("delay.off", parts) : say("delay.none");
}

export function originText(rule: Effective, language: Language): string {
  const origin = originOf(rule);
  const say = ruleWords(language);
  return "own" in origin ? say("origin.own", { id: origin.own }) : say("origin.profile", { id: origin.profile });
}

export function scopeText(scope: Scope, zones: ReadonlyMap<string, Label>, language: Language): string {
  const zone = scope.zone ? labelText(zones.get(scope.zone) ?? { zh: scope.zone, en: scope.zone }, language) : null;
  const kind = scope.kind ? assetKindText(scope.kind, language) : null;
  if (scope.device) return scope.device;
  return [zone, kind].filter((part) => part !== null).join(" · ") || ruleWords(language)("reach.town");
}

export function selectText(select: Schemas["RuleSelector"], language: Language): string {
  const parts = [select.profile, select.metric, select.rule].filter((part) => part !== null && part !== undefined);
  return parts.join(" / ") || ruleWords(language)("over.any");
}

const FIELD_WORDS: Record<string, RuleWord> = {
  rungs: "field.rungs", for: "field.for", clear_for: "field.clear_for", severity: "field.severity", after: "field.after",
  re_alarm: "field.re_alarm", schedule: "field.schedule", enabled: "field.enabled", text: "field.text", flap: "field.flap",
};

/** A field by its path in a patch: `rungs.critical.limit`, `for`. */
export function fieldText(path: string, language: Language): string {
  const say = ruleWords(language);
  const [, severity, what] = /^rungs\.(\w+)\.(limit|clear)$/.exec(path) ?? [];
  if (severity !== undefined && (what === "limit" || what === "clear")) return say(`field.${what}`, { severity: severityText(severity, language) });
  if (path === "text.zh" || path === "text.en") return say(`field.${path}`);
  const word = FIELD_WORDS[path.split(".")[0] ?? ""];
  return word === undefined ? path : say(word);
}

/** What a patch sets, each in a few words. */
export function patchTexts(set: Patch, language: Language): string[] {
  const say = ruleWords(language);
  const rungs = Object.entries(set.rungs ?? {}).flatMap(([severity, { limit, clear }]) => {
    const parts = [
      ...(limit === null || limit === undefined ? [] : [`${say("col.raise")} ${limit}`]),
      ...(clear === null || clear === undefined ? [] : [`${say("col.clear")} ${clear}`]),
    ];
    return [`${severityText(severity, language)}: ${parts.join(" · ")}`];
  });
  const named = (path: string, value: string): string => `${fieldText(path, language)}: ${value}`;
  return [
    ...(set.enabled === null || set.enabled === undefined ? [] : [say(set.enabled ? "set.enabled.yes" : "set.enabled.no")]),
    ...rungs,
    ...(["for", "clear_for", "after", "re_alarm"] as const).flatMap((path) => (set[path] ? [named(path, spanText(set[path], language))] : [])),
    ...(set.severity ? [named("severity", severityText(set.severity, language))] : []),
    ...(set.schedule ? [named("schedule", set.schedule === ALWAYS ? say("rule.always") : set.schedule)] : []),
    ...(set.flap ? [named("flap", say("rule.flap.value", { times: set.flap.times, within: spanText(set.flap.within, language) }))] : []),
    ...(set.text ? [named("text", labelText(set.text, language))] : []),
  ];
}

export function faultText(fault: Fault, unit: string, language: Language): string {
  const say = ruleWords(language);
  if (fault.is === "none") return say("fault.none");
  const severity = severityText(fault.severity, language);
  const value = (number: number): string => limitText(number, unit, language);
  switch (fault.is) {
    case "side":
      return say(`fault.side.${fault.side}`, { severity, clear: value(fault.clear), limit: value(fault.limit) });
    case "never":
    case "always":
    case "stuck":
      return say(`fault.${fault.is}`, { severity, low: value(fault.low), high: value(fault.high) });
    case "order":
      return say("fault.order", { severity, than: severityText(fault.than, language) });
    default:
      return say(`fault.${fault.is}`, { severity });
  }
}

/** The words for a refusal of these pages: the hub's common ones, or their own. */
export function refusalText(code: string, language: Language): string {
  const word = `error.${code}`;
  const own = ["version_conflict", "in_use", "illegal_move", "not_found"] as const;
  const mine = own.find((one) => one === code);
  return mine === undefined ? (wordOfCode(language, "error", code) === code ? words(language)("error.other", { code }) : wordOfCode(language, "error", code)) : ruleWords(language)(word as RuleWord);
}
