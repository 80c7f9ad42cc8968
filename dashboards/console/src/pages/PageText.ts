/** What several pages write alike: severities, kinds, limits, times. Pure. */

import { numberText, valueText } from "../format";
import { wordOfCode, type Language } from "../i18n";

export const severityText = (severity: string, language: Language): string => wordOfCode(language, "severity", severity);
export const assetKindText = (kind: string, language: Language): string => wordOfCode(language, "kind", kind);

/** A limit as people write it: as few digits as it has, never more than its unit makes sense of being asked for. */
export function limitText(value: number, unit: string, language: Language): string {
  if (!Number.isFinite(value)) return "—";
  const usual = valueText(value, unit, language);
  // A limit that is finer than its unit's usual digits is shown as it is: 3.335 V must not look like 3.34 V.
  const shown = Number(numberText(value, unit, "en").replaceAll(",", ""));
  return Math.abs(shown - value) < 1e-9 ? usual : `${value}${usual.replace(/^[-\d.,\s]+/, " ")}`.trimEnd();
}

/** Day and hour to the minute, with the year when it is another one. */
export function whenText(at: string | number, nowMs: number): string {
  const ms = typeof at === "number" ? at : Date.parse(at);
  const text = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" }).format(ms);
  return new Date(ms).getFullYear() === new Date(nowMs).getFullYear() ? text.slice(5) : text;
}
