import { describe, expect, test } from "vitest";
import {
  countAlerts,
  listAlerts,
  listAssets,
  lotCounts,
  lotText,
  nextUnacknowledged,
  NO_FILTER,
  step,
} from "../../src/town/select";
import { withAlert } from "../../src/town/town";
import { alert, feature, townOf } from "./sample";

const ACKNOWLEDGED = { version: 2, acknowledged_at: "2026-07-01T07:59:00Z" };
const town = townOf(
  [feature(1), feature(2), feature(3, { family: "gates", kind: "sluice-gate" }), feature(4)],
  [
    alert(1, { severity: "minor" }),
    alert(2, { severity: "critical", ...ACKNOWLEDGED }),
    alert(3, { severity: "major", raised_at: "2026-07-01T07:10:00Z" }),
    alert(4, { severity: "major", raised_at: "2026-07-01T07:20:00Z" }),
  ],
);
const ids = (alerts: { id: number }[]): number[] => alerts.map(({ id }) => id);

describe("the list", () => {
  test("unacknowledged first, then severity, then the newest", () => {
    expect(ids(listAlerts(town, NO_FILTER, null))).toEqual([4, 3, 1, 2]);
  });

  test("acknowledging the chosen row leaves it where it is", () => {
    const chosen = alert(4, { severity: "major", raised_at: "2026-07-01T07:20:00Z" });
    const after = withAlert(town, { ...chosen, ...ACKNOWLEDGED });
    expect(ids(listAlerts(after, NO_FILTER, { alert: chosen, latest: chosen }))).toEqual([4, 3, 1, 2]);
    expect(ids(listAlerts(after, { ...NO_FILTER, unacknowledgedOnly: true }, { alert: chosen, latest: chosen }))).toEqual([4, 3, 1]);
    expect(ids(listAlerts(after, NO_FILTER, null))).toEqual([3, 1, 2, 4]);
  });

  test("a chosen alert that closes stays until the operator moves on", () => {
    const chosen = alert(4, { severity: "major", raised_at: "2026-07-01T07:20:00Z" });
    const closed = { ...chosen, ...ACKNOWLEDGED, active: false };
    const list = listAlerts(withAlert(town, closed), NO_FILTER, { alert: chosen, latest: closed });
    expect(list[0]).toEqual(closed);
  });

  test("filters by family, severity and words of either language", () => {
    expect(ids(listAlerts(town, { ...NO_FILTER, families: new Set(["gates"]) }, null))).toEqual([3]);
    expect(ids(listAlerts(town, { ...NO_FILTER, ranks: new Set([1, 3]) }, null))).toEqual([1, 2]);
    expect(ids(listAlerts(town, { ...NO_FILTER, text: "manhole 4" }, null))).toEqual([4]);
    expect(ids(listAlerts(town, { ...NO_FILTER, text: "1号井 水位" }, null))).toEqual([1]);
    expect(listAssets(town, { ...NO_FILTER, text: "mh-3" }).map(({ number }) => number)).toEqual([3]);
  });

  test("counts open and unacknowledged by severity", () => {
    const counts = countAlerts(town);
    expect(counts[1]).toEqual({ open: 1, unacknowledged: 0 });
    expect(counts[2]).toEqual({ open: 2, unacknowledged: 2 });
    expect(counts[4]).toEqual({ open: 0, unacknowledged: 0 });
  });
});

describe("moving through the list", () => {
  const list = listAlerts(town, NO_FILTER, null);

  test("steps stop at the ends", () => {
    expect(step(list, null, 1)?.id).toBe(4);
    expect(step(list, 4, 1)?.id).toBe(3);
    expect(step(list, 2, 1)?.id).toBe(2);
    expect(step(list, 4, -1)?.id).toBe(4);
    expect(step([], null, 1)).toBeUndefined();
  });

  test("next skips the acknowledged and goes round", () => {
    expect(nextUnacknowledged(list, 1)?.id).toBe(4);
    expect(nextUnacknowledged(list, 3)?.id).toBe(1);
    expect(nextUnacknowledged([], null)).toBeUndefined();
  });
});

test("a car park counts only what it knows", () => {
  const bay = (id: number, state: number | null, freshness: "fresh" | "dead" = "fresh") =>
    feature(id, { kind: "parking-bay", family: "parking", parent: "LOT-1", state, freshness });
  const lot = feature(9, { asset: "LOT-1", kind: "parking-lot", family: "parking" });
  const counts = lotCounts(townOf([lot, bay(1, 0), bay(2, 1), bay(3, 0, "dead"), bay(4, null)]));
  expect(counts.get(9)).toEqual({ free: 1, known: 2, bays: 4 });
});

describe("what stands at a car park", () => {
  test("takes a bay of which nothing is known for neither free nor taken", () => {
    expect(lotText({ free: 12, known: 40, bays: 40 })).toBe("12/40");
    expect(lotText({ free: 12, known: 37, bays: 40 })).toBe("12–15/40");
    expect(lotText({ free: 0, known: 0, bays: 40 })).toBe("?/40");
  });
});
