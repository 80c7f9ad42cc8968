/** The hub's reports as a story needs them: the month with which the town's figures were published. */

import type { Schemas } from "../../src/api/hub";
import type { Asked, Desk } from "./server";
import { Refused } from "./cases";

type CaseFigures = Schemas["CaseFigures"];
type AlarmFigures = Schemas["AlarmFigures"];

function times(count: number, median: number): Schemas["Times"] {
  return { count, median_s: count === 0 ? null : median, p90_s: count === 0 ? null : 3 * median };
}

/** A part of the published month; nothing is a month in which nothing happened. */
export function caseFigures(part: number): CaseFigures {
  const of = (whole: number): number => Math.round(whole * part);
  const rate = (a: number, b: number): number | null => (b === 0 ? null : a / b);
  return {
    received: of(1054), opened: of(996), due: of(972), closed: of(911), on_time: of(737), closings: of(930), reopened: of(21),
    closing_rate: rate(of(911), of(972)), on_time_rate: rate(of(737), of(972)), rework_rate: rate(of(21), of(930)),
    acknowledge: times(of(900), 93), dispatch: times(of(990), 410), accept: times(of(970), 188),
    arrive: times(of(950), 1520), clear: times(of(900), 5400), close: times(of(930), 9300),
  };
}

function figure(value: number | null, target: number, manageable: number): Schemas["Figure"] {
  const verdict = value === null ? "unknown" : value <= target ? "met" : value <= manageable ? "manageable" : "missed";
  return { value, target, verdict };
}

export function alarmFigures(part: number): AlarmFigures {
  const of = (whole: number): number => Math.round(whole * part);
  const share = (value: number): number | null => (part === 0 ? null : value);
  return {
    alarms: of(2843), info: of(412), held_back: of(133),
    rate: figure(0.66 * part, 1, 2), peak: figure(of(34), 10, 10), peak_at: part === 0 ? null : "2026-11-12T03:20:00Z",
    overloaded: figure(0.023 * part, 0.01, 0.05), floods: of(6), in_flood: figure(0.031 * part, 0.01, 0.05),
    longest_flood_s: 5400 * part, chattering: figure(of(3), 0, 0), stale: figure(of(7), 4, 4), stale_mean: 3.2 * part,
    top_share: figure(share(0.21), 0.01, 0.05),
    priorities: {
      high: of(120), medium: of(500), low: of(2223),
      high_share: figure(share(0.042), 0.05, 0.05), high_and_medium_share: figure(share(0.218), 0.2, 0.2),
    },
    acknowledge: times(of(2000), 75), clear: times(of(2100), 2400),
    shelved: { count: of(18), hours: 61.25 * part }, suppressed: { count: of(40), hours: 210.5 * part },
    out_of_service: { count: of(2), hours: 48 * part },
  };
}

/** Answers reports whose groups have these keys, and keeps what it was asked. */
export class ReportDesk {
  readonly asked: Record<string, string>[] = [];
  refuse: string | null = null;

  constructor(
    private readonly keys: readonly (string | null)[],
    private readonly part = 1,
  ) {}

  readonly answer: Desk = ({ path, query }: Asked) => {
    if (path === "/zones") {
      const names: [string, string, string][] = [["xizha", "西栅", "Xizha"], ["dongzha", "东栅", "Dongzha"]];
      const features = names.map(([zone, zh, en]) => ({
        type: "Feature", id: zone, geometry: { type: "Polygon", coordinates: [] }, properties: { zone, name: { zh, en } },
      }));
      return { type: "FeatureCollection", features };
    }
    if (!path.startsWith("/reports/")) return undefined;
    if (this.refuse !== null) throw new Refused(400, this.refuse);
    this.asked.push({ path, ...Object.fromEntries(query) });
    const day = (name: string): string => new Date(`${query.get(name)}T00:00:00+08:00`).toISOString();
    const span = { from: day("from"), to: day("to") };
    const former_span = { from: new Date(2 * Date.parse(span.from) - Date.parse(span.to)).toISOString(), to: span.from };
    const by = query.get("by");
    const groups = <F>(make: (part: number) => F): { key: string | null; span: typeof span; figures: F; former: F | null }[] =>
      by === null ? [] : this.keys.map((key, i) => ({ key, span, figures: make((this.part * (i + 1)) / 60), former: null }));
    if (path === "/reports/cases") {
      return { span, former_span, by, total: caseFigures(this.part), former: caseFigures(0.9 * this.part), groups: groups(caseFigures) };
    }
    return {
      span, former_span, by, operators: 2, total: alarmFigures(this.part), former: alarmFigures(0), groups: groups(alarmFigures),
      top: this.part === 0 ? [] : [{ device: "mh-014", metric: "level", name: "high", text: { zh: "水位偏高", en: "Level high" }, alarms: 90, share: 0.03 }],
      chatterers: [],
    };
  };
}
