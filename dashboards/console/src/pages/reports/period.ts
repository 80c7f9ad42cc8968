/** Which time a report is about: civil periods of the town, as the address names them. Pure; days are texts, 2026-11-28. */

import type { Language } from "../../i18n";

export const PERIODS = ["day", "week", "month", "quarter", "year", "custom"] as const;
export type PeriodName = (typeof PERIODS)[number];

export const DIVISIONS = ["zone", "unit", "kind", "severity", "day", "week", "month"] as const;
export type Division = (typeof DIVISIONS)[number];

export interface Period {
  name: PeriodName;
  /** The first day. */
  from: string;
  /** The first day after it. */
  to: string;
}

/** The longest span that the hub reports on, in days. */
export const MAX_DAYS = 400;

const DAY_MS = 86_400_000;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** Midnight UTC of a day stands for the day: no zone, no summer time. */
function number(day: string): number {
  return Date.parse(`${day}T00:00:00Z`) / DAY_MS;
}

function dayOf(number: number): string {
  return new Date(number * DAY_MS).toISOString().slice(0, 10);
}

/** Whether a text is a day that the calendar has. */
export function isDay(text: string | undefined): text is string {
  return text !== undefined && DAY.test(text) && !Number.isNaN(number(text)) && dayOf(number(text)) === text;
}

export function plusDays(day: string, days: number): string {
  return dayOf(number(day) + days);
}

/** Days between two days. */
export function daysBetween(from: string, to: string): number {
  return number(to) - number(from);
}

/** The first day of the month that lies `months` after that of the day. */
function month(day: string, months = 0): string {
  const [year = 0, index = 1] = day.split("-").map(Number);
  return new Date(Date.UTC(year, index - 1 + months, 1)).toISOString().slice(0, 10);
}

function weekday(day: string): number {
  return (new Date(number(day) * DAY_MS).getUTCDay() + 6) % 7;
}

/** The civil period of that name in which the day lies. */
export function periodAround(name: Exclude<PeriodName, "custom">, day: string): Period {
  const index = Number(day.slice(5, 7)) - 1;
  switch (name) {
    case "day":
      return { name, from: day, to: plusDays(day, 1) };
    case "week": {
      const from = plusDays(day, -weekday(day));
      return { name, from, to: plusDays(from, 7) };
    }
    case "month":
      return { name, from: month(day), to: month(day, 1) };
    case "quarter":
      return { name, from: month(day, -(index % 3)), to: month(day, 3 - (index % 3)) };
    case "year":
      return { name, from: month(day, -index), to: month(day, 12 - index) };
  }
}

/** What the address asks for; the month of today, when it asks for nothing or for nonsense. */
export function readPeriod(query: Readonly<Record<string, string>>, today: string): Period {
  const name = PERIODS.find((one) => one === query.period) ?? "month";
  const { from, to } = query;
  if (name !== "custom") return periodAround(name, isDay(from) ? from : today);
  // The last day is part of it for people.
  if (isDay(from) && isDay(to)) return { name, from, to: plusDays(to, 1) };
  return { name, from: month(today), to: plusDays(today, 1) };
}

/** How the address names a period. */
export function writePeriod({ name, from, to }: Period): Record<string, string> {
  return name === "custom" ? { period: name, from, to: plusDays(to, -1) } : { period: name, from };
}

/** The period of the same kind beside it. */
export function beside(period: Period, by: 1 | -1): Period {
  const { name, from, to } = period;
  if (name !== "custom") return periodAround(name, by === 1 ? to : plusDays(from, -1));
  const days = daysBetween(from, to) * by;
  return { name, from: plusDays(from, days), to: plusDays(to, days) };
}

export type Fault = "reversed" | "long" | "future";

/** Why there can be no report on a period. */
export function faultOf({ from, to }: Period, today: string): Fault | null {
  const days = daysBetween(from, to);
  if (days < 1) return "reversed";
  if (days > MAX_DAYS) return "long";
  return daysBetween(from, today) < 0 ? "future" : null;
}

/** The ISO week of a day, with the year that it belongs to. */
export function weekOf(day: string): { year: number; week: number } {
  const thursday = plusDays(day, 3 - weekday(day));
  const year = Number(thursday.slice(0, 4));
  return { year, week: Math.floor(daysBetween(`${year}-01-01`, thursday) / 7) + 1 };
}

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/** A period as a heading says it. */
export function periodText(period: Period, language: Language): string {
  const { name, from, to } = period;
  const [year, index, day] = from.split("-").map(Number) as [number, number, number];
  const last = plusDays(to, -1);
  const zh = language === "zh";
  switch (name) {
    case "day":
      return zh ? `${year}年${index}月${day}日` : `${day} ${MONTHS[index - 1]} ${year}`;
    case "week": {
      const { year: of, week } = weekOf(from);
      return zh ? `${of}年第${week}周(${short(from)}至${short(last)})` : `Week ${week} of ${of} (${short(from)} to ${short(last)})`;
    }
    case "month":
      return zh ? `${year}年${index}月` : `${MONTHS[index - 1]} ${year}`;
    case "quarter":
      return zh ? `${year}年第${(index + 2) / 3}季度` : `Quarter ${(index + 2) / 3} of ${year}`;
    case "year":
      return zh ? `${year}年` : String(year);
    case "custom":
      return zh ? `${from} 至 ${last}` : `${from} to ${last}`;
  }
}

function short(day: string): string {
  return day.slice(5);
}

/** The key of a group that is a period, for people: a day, a week, a month. */
export function timeKeyText(key: string, language: Language): string {
  const zh = language === "zh";
  const week = /^(\d{4})-W(\d{2})$/.exec(key);
  if (week) return zh ? `${week[1]}年第${Number(week[2])}周` : `${week[1]} week ${Number(week[2])}`;
  const month = /^(\d{4})-(\d{2})$/.exec(key);
  if (month) return zh ? `${month[1]}年${Number(month[2])}月` : `${MONTHS[Number(month[2]) - 1]?.slice(0, 3)} ${month[1]}`;
  return key;
}

// The Swedish form is the ISO one, in the reader's own zone as everywhere in the console.
const moment = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short" });

/** Day and hour of a moment, with its year. */
export function momentText(ms: number): string {
  return moment.format(ms);
}

/** Today, where the reader is. */
export function dayOfMoment(ms: number): string {
  return moment.format(ms).slice(0, 10);
}

/** A span of the hub for people: whole days by their days, the last one included; else to the minute. */
export function spanText(span: { from: string; to: string }, language: Language): string {
  const [from, to] = [momentText(Date.parse(span.from)), momentText(Date.parse(span.to))];
  const between = language === "zh" ? "至" : "to";
  if (!from.endsWith("00:00") || !to.endsWith("00:00")) return `${from} ${between} ${to}`;
  const last = plusDays(to.slice(0, 10), -1);
  return last === from.slice(0, 10) ? last : `${from.slice(0, 10)} ${between} ${last}`;
}
