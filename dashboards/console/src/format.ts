/** Numbers, units, ages and times in words. Pure: the language and the time are passed in. */

import type { Grade, Label } from "./api/types";
import { words, type Language } from "./i18n";

/** How a UCUM unit is written for people; `digits` are shown after the point at most. */
interface UnitStyle {
  zh: string;
  en: string;
  digits: number;
}

const same = (text: string, digits: number): UnitStyle => ({ zh: text, en: text, digits });

/** The units of the town's quantities. A unit that is missing here is shown as UCUM writes it. */
const UNITS: Record<string, UnitStyle> = {
  "1": same("", 2),
  "": same("", 2),
  m: same("m", 2),
  mm: same("mm", 1),
  cm: same("cm", 1),
  "m/s": same("m/s", 2),
  "m3/s": same("m³/s", 2),
  "m3/h": same("m³/h", 1),
  "L/s": same("L/s", 1),
  "mm/h": same("mm/h", 1),
  "[ppm]": same("ppm", 1),
  "%": same("%", 1),
  "%{LEL}": same("% LEL", 1),
  "%{vol}": same("% vol", 1),
  "mg/L": same("mg/L", 1),
  "uS/cm": same("µS/cm", 0),
  "{NTU}": same("NTU", 1),
  Pa: same("Pa", 0),
  kPa: same("kPa", 0),
  MPa: same("MPa", 3),
  bar: same("bar", 2),
  deg: same("°", 1),
  Cel: same("°C", 1),
  V: same("V", 2),
  A: same("A", 1),
  kN: same("kN", 1),
  kW: same("kW", 1),
  "dB{mW}": same("dBm", 0),
  s: { zh: "秒", en: "s", digits: 0 },
  min: { zh: "分钟", en: "min", digits: 0 },
  h: { zh: "小时", en: "h", digits: 1 },
  "{vehicle}": { zh: "辆", en: "vehicles", digits: 0 },
};

/** A unit as people write it. */
export function unitText(unit: string, language: Language): string {
  return UNITS[unit]?.[language] ?? unit;
}

/** A number with as many digits as its unit makes sense of; no unit. */
export function numberText(value: number, unit: string, language: Language): string {
  const digits = UNITS[unit]?.digits ?? 2;
  return new Intl.NumberFormat(language === "zh" ? "zh-CN" : "en-GB", {
    // Lengths and speeds keep their zeros so that columns and changes read easily: 1.50 m, not 1.5 m.
    minimumFractionDigits: Number.isInteger(value) && (digits < 2 || unitText(unit, language) === "") ? 0 : digits,
    maximumFractionDigits: digits,
  }).format(value);
}

/** A number with its unit; a dash for no value. */
export function valueText(value: number | null, unit: string | null, language: Language): string {
  if (value === null) return "—";
  const name = unitText(unit ?? "", language);
  const number = numberText(value, unit ?? "", language);
  return name === "" || name === "°" ? `${number}${name}` : `${number} ${name}`;
}

/** How long, in the two largest units: 「1 小时 29 分」 / "1 h 29 min". Under a minute in seconds. */
export function durationText(ms: number, language: Language): string {
  const t = words(language);
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return t("duration.s", { s: seconds });
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return t("duration.min", { min: minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    return minutes % 60 === 0
      ? t("duration.h", { h: hours })
      : t("duration.h_min", { h: hours, min: minutes % 60 });
  }
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 || days > 9
    ? t("duration.d", { d: days })
    : t("duration.d_h", { d: days, h: hours % 24 });
}

/** How old something is. What the hub dates after its own present (a device's clock ahead) is told as such. */
export function ageText(atMs: number, nowMs: number, language: Language): string {
  const t = words(language);
  const age = nowMs - atMs;
  if (age < -60_000) return t("age.ahead", { duration: durationText(-age, language) });
  if (age < 3_000) return t("age.now");
  return t("age.ago", { duration: durationText(age, language) });
}

/** The age of the stream, short: tenths while it is live, then like any duration. */
export function streamAgeText(silentMs: number, language: Language): string {
  const seconds = silentMs / 1000;
  if (seconds >= 60) return durationText(silentMs, language);
  return words(language)("duration.s", { s: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) });
}

/** The hour of a day, to the second, in the reader's own zone. */
export function clockText(ms: number): string {
  return timeOfDay.format(ms);
}

/** Day and hour, to the minute; the day is left out when it is today. */
export function momentText(ms: number, nowMs: number): string {
  const today = dayText(ms) === dayText(nowMs);
  return today ? timeOfDay.format(ms) : `${dayText(ms)} ${timeOfDay.format(ms).slice(0, 5)}`;
}

/** Day and hour to the minute, for what is promised; the day is left out when it is today. */
export function dueText(ms: number, nowMs: number): string {
  const today = dayText(ms) === dayText(nowMs);
  const time = timeOfDay.format(ms).slice(0, 5);
  return today ? time : `${dayText(ms)} ${time}`;
}

// The Swedish form is the ISO one: 2026-07-01 and 09:05:00, the same in both languages.
const timeOfDay = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayOf = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });

/** Month and day, 07-01. Without the year the Swedish form would turn round. */
function dayText(ms: number): string {
  return dayOf.format(ms).slice(5);
}

/** A label in the reader's language. */
export function labelText(label: Label, language: Language): string {
  return label[language] || label.zh || label.en;
}

/** Whether a value may be drawn and compared: bad ones are gaps. */
export function isUsable(value: number | null, grade: Grade): value is number {
  return value !== null && grade !== "bad";
}
