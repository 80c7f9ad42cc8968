/** Cases in words: events, what a sensor lacks, units. Pure: the language and the units are passed in. */

import type { Case, CaseEvent, Lacking, MoveKind, Unit } from "../../api/types";
import { dueText, labelText, momentText, numberText, valueText } from "../../format";
import { errorText, words, wordOfCode, type Language } from "../../i18n";
import type { ApiError } from "../../api/client";
import type { Town } from "../../town/town";
import { assetOfCase } from "../../work/cases";
import { caseCode, caseWords } from "./dictionary";

/** A unit's name, or its id when it is not known here. */
export function unitText(id: string | undefined, units: readonly Unit[], language: Language): string {
  const unit = units.find((known) => known.id === id);
  return unit ? labelText(unit.name, language) : (id ?? "—");
}

/** Where a case is: its asset's name, or what the hub knows instead. */
export function placeText(one: Case, town: Town, language: Language): string {
  const asset = assetOfCase(town, one);
  return asset ? labelText(asset.name, language) : (one.asset ?? one.device ?? one.zone ?? "—");
}

/** A move as the one who makes it says it; the first entry of a handler tells of the arrival. */
export function moveText(kind: MoveKind | "reopen", one: Case | null, language: Language): string {
  return words(language)(kind === "handle" && one?.arrived_at === null ? "move.handle.first" : `move.${kind}`);
}

/** What happened, as people say it. */
export function eventText(event: CaseEvent, units: readonly Unit[], language: Language): string {
  const t = caseWords(language);
  const unit = unitText(event.unit, units, language);
  switch (event.what) {
    case "dispatched":
      return event.person
        ? t("event.dispatched.person", { unit, person: event.person })
        : t("event.dispatched", { unit });
    case "attached":
      return t("event.attached", { alert: event.alert ?? "" });
    case "overdue":
      return t("event.overdue", { step: wordOfCode(language, "due", event.step ?? "") });
    case "escalated":
      return t("event.escalated", { level: event.level ?? "" });
    case "reopened":
      return t("event.reopened", { by: event.by ?? "" });
    default:
      return caseCode(language, "event", event.what);
  }
}

/** What a sensor still lacks, plainly. */
export function lackingText(lacking: Lacking, nowMs: number, language: Language): string {
  const t = caseWords(language);
  switch (lacking.missing) {
    case "clear":
      return lacking.value === null || lacking.clear === null
        ? t("sensor.clear.state")
        : t("sensor.clear", {
            value: numberText(lacking.value, lacking.unit, language),
            clear: valueText(lacking.clear, lacking.unit, language),
          });
    case "hold":
      return t("sensor.hold", { when: momentText(Date.parse(lacking.until), nowMs) });
    case "fresh":
      return lacking.observed_at === null
        ? t("sensor.fresh.never")
        : t("sensor.fresh", { when: dueText(Date.parse(lacking.observed_at), nowMs) });
    case "good":
      return t("sensor.good");
  }
}

/** The words for a refused move, with what the hub said of it. */
export function refusalText(error: ApiError, units: readonly Unit[], language: Language): string {
  const { unit, handler } = error.members;
  if (typeof handler === "string") return errorText(language, "own_work");
  if (typeof unit === "string") return words(language)("error.other_unit", { unit: unitText(unit, units, language) });
  if (error.code === "version_conflict") return caseWords(language)("form.changed");
  return errorText(language, error.code);
}
