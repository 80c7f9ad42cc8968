import { describe, expect, it } from "vitest";
import {
  axisTop,
  barsPath,
  CASE_COLUMNS,
  changeText,
  figureText,
  fillOf,
  ordered,
  targetText,
  type CaseFigures,
  type Group,
} from "../../src/pages/reports/figures";
import { groupName, NO_NAMES } from "../../src/pages/reports/names";
import {
  beside,
  faultOf,
  periodAround,
  periodText,
  readPeriod,
  spanText,
  timeKeyText,
  weekOf,
  writePeriod,
} from "../../src/pages/reports/period";

describe("a period", () => {
  it("is the civil one around a day", () => {
    const around = (name: Parameters<typeof periodAround>[0], day: string): string[] => {
      const { from, to } = periodAround(name, day);
      return [from, to];
    };
    expect(around("day", "2026-12-31")).toEqual(["2026-12-31", "2027-01-01"]);
    expect(around("week", "2026-11-29")).toEqual(["2026-11-23", "2026-11-30"]);
    expect(around("week", "2026-11-30")).toEqual(["2026-11-30", "2026-12-07"]);
    expect(around("month", "2028-02-29")).toEqual(["2028-02-01", "2028-03-01"]);
    expect(around("quarter", "2026-11-28")).toEqual(["2026-10-01", "2027-01-01"]);
    expect(around("year", "2026-11-28")).toEqual(["2026-01-01", "2027-01-01"]);
  });

  it("turns to the ones beside it and back, over the ends of years", () => {
    for (const name of ["day", "week", "month", "quarter", "year"] as const) {
      const period = periodAround(name, "2026-12-31");
      expect(beside(beside(period, 1), -1)).toEqual(period);
      expect(beside(period, 1).from).toBe(period.to);
      expect(beside(period, -1).to).toBe(period.from);
    }
    expect(beside({ name: "custom", from: "2026-11-01", to: "2026-11-11" }, -1)).toEqual({ name: "custom", from: "2026-10-22", to: "2026-11-01" });
  });

  it("is read from the address as it was written there", () => {
    const today = "2026-11-28";
    for (const query of [{ period: "week", from: "2026-11-16" }, { period: "custom", from: "2026-11-03", to: "2026-11-09" }]) {
      expect(writePeriod(readPeriod(query, today))).toEqual(query);
    }
    expect(readPeriod({}, today)).toEqual(periodAround("month", today));
    expect(readPeriod({ period: "month", from: "2026-02-31" }, today)).toEqual(periodAround("month", today));
    expect(readPeriod({ period: "nonsense", from: "2026-03-05" }, today).from).toBe("2026-03-01");
  });

  it("is refused when no report can be about it", () => {
    const fault = (from: string, to: string) => faultOf({ name: "custom", from, to }, "2026-11-28");
    expect(fault("2026-11-28", "2026-11-29")).toBeNull();
    expect(fault("2026-11-29", "2026-11-30")).toBe("future");
    expect(fault("2026-11-10", "2026-11-10")).toBe("reversed");
    expect(fault("2025-10-24", "2026-11-28")).toBeNull();
    expect(fault("2025-10-23", "2026-11-28")).toBe("long");
  });

  it("has its name in both languages", () => {
    const say = (name: Parameters<typeof periodAround>[0], language: "zh" | "en") => periodText(periodAround(name, "2026-11-28"), language);
    expect(say("week", "zh")).toBe("2026年第48周(11-23至11-29)");
    expect(say("month", "zh")).toBe("2026年11月");
    expect(say("quarter", "en")).toBe("Quarter 4 of 2026");
    expect(weekOf("2027-01-03")).toEqual({ year: 2026, week: 53 });
    expect([timeKeyText("2026-W05", "zh"), timeKeyText("2026-11", "en"), timeKeyText("2026-11-28", "zh")]).toEqual(["2026年第5周", "Nov 2026", "2026-11-28"]);
  });

  it("shows whole days as days and anything else to the minute", () => {
    const at = (text: string) => new Date(text).toISOString();
    expect(spanText({ from: at("2026-10-01T00:00"), to: at("2026-11-01T00:00") }, "zh")).toBe("2026-10-01 至 2026-10-31");
    expect(spanText({ from: at("2026-10-03T21:20"), to: at("2026-11-01T00:00") }, "en")).toBe("2026-10-03 21:20 to 2026-11-01 00:00");
  });
});

describe("a figure", () => {
  it("is written as an office prints it", () => {
    expect(figureText(911 / 972, "share", "zh")).toBe("93.72%");
    expect(figureText(1054, "count", "zh")).toBe("1,054");
    expect(figureText(null, "share", "zh")).toBe("—");
    expect(figureText(0.002777, "rate", "zh")).toBe("0.0028");
    expect(targetText({ value: null, target: 0.01, verdict: "unknown" }, "share")).toBe("≤ 1%");
  });

  it("tells its change in its own terms, and none without something to compare", () => {
    expect(changeText(0.7582, 0.7, "share", "zh")).toBe("+5.82 个百分点");
    expect(changeText(3, 5, "count", "en")).toBe("−2");
    expect(changeText(0.9, 0.9000001, "share", "zh")).toBe("持平");
    expect(changeText(null, 1, "count", "zh")).toBe("—");
  });
});

describe("groups", () => {
  const group = (key: string | null, opened: number, rate: number | null): Group<CaseFigures> => ({
    key,
    figures: { opened, closing_rate: rate } as CaseFigures,
    former: null,
  });
  const groups = [group("a", 2, null), group("b", 5, 0.5), group(null, 1, 0.9)];
  const keys = (column: number, down: boolean) => ordered(groups, CASE_COLUMNS, { column, down }).map(({ key }) => key);

  it("are sorted by a column, what has no figure last either way", () => {
    expect(keys(1, true)).toEqual(["b", "a", null]);
    expect(keys(1, false)).toEqual([null, "a", "b"]);
    expect(keys(4, true)).toEqual([null, "b", "a"]);
    expect(keys(4, false)).toEqual(["b", null, "a"]);
    expect(ordered(groups, CASE_COLUMNS, null)).toBe(groups);
  });

  it("fill their bars against the greatest, a share against the whole", () => {
    const [opened, rate] = [CASE_COLUMNS[1]!, CASE_COLUMNS[4]!];
    expect(groups.map(({ figures }) => fillOf(opened, figures, groups))).toEqual([0.4, 1, 0.2]);
    expect(groups.map(({ figures }) => fillOf(rate, figures, groups))).toEqual([0, 0.5, 0.9]);
  });

  it("are named by the town, and by their id when it is gone", () => {
    const names = { ...NO_NAMES, zones: new Map([["xizha", { zh: "西栅", en: "Xizha" }]]) };
    expect(groupName("zone", "xizha", names, "zh")).toBe("西栅");
    expect(groupName("unit", "gone", names, "zh")).toBe("gone");
    expect(groupName("unit", null, names, "zh")).toBe("未派遣");
    expect(groupName("severity", "critical", names, "zh")).toBe("特急");
    expect(groupName("kind", "manhole", names, "zh")).toBe("检查井");
  });

  it("are drawn as bars of their height, and not at all without any", () => {
    expect(barsPath([0, 5, 10], 10, 0.15, 0.7)).toBe("M1.15 100v-50h0.7v50zM2.15 100v-100h0.7v100z");
    expect(barsPath([0, 0], 0, 0, 1)).toBe("");
    expect([0, 3, 7, 43, 101].map(axisTop)).toEqual([1, 3, 10, 50, 200]);
  });
});
