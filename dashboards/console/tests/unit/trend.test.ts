import { expect, test } from "vitest";
import type { Bucket } from "../../src/api/types";
import { nextCall, REPEAT_MS } from "../../src/sound";
import { anchor } from "../../src/town/geometry";
import { extend, extremes, limitLines, toTrend } from "../../src/town/trend";
import { alert, feature, townOf } from "./sample";

const STEP = 300_000;
const bucket = (n: number, mean: number | null, goodShare = 1): Bucket => [n * STEP, mean, mean, mean, mean, 1, goodShare];

test("bad buckets are gaps", () => {
  const trend = toTrend([bucket(0, 1), bucket(1, 9, 0), bucket(2, 2)], false);
  expect(trend.values).toEqual([1, null, 2]);
});

test("silence breaks the line, a slow rhythm does not", () => {
  expect(toTrend([bucket(0, 1), bucket(1, 1), bucket(2, 1), bucket(9, 2)], false).values).toEqual([1, 1, 1, null, 2]);
  expect(toTrend([bucket(0, 1), bucket(12, 1), bucket(24, 2)], false).values).toEqual([1, 1, 2]);
});

test("a live value goes on from the stored ones; an old one changes nothing", () => {
  const trend = toTrend([bucket(0, 1), bucket(1, 2)], false);
  expect(extend(trend, 2 * STEP, 3, "good").values).toEqual([1, 2, 3]);
  expect(extend(trend, 2 * STEP, 3, "bad").values).toEqual([1, 2, null]);
  expect(extend(trend, STEP, 3, "good")).toBe(trend);
  expect(extremes(extend(trend, 2 * STEP, 0.5, "good"))).toEqual({ min: 0.5, max: 2, last: 0.5 });
  expect(extremes({ times: [1], values: [null] })).toBeNull();
});

test("levels are limit lines, states are not", () => {
  const limit = { name: "x", severity: "major" as const, on_delay_s: 0, text: { zh: "", en: "" } };
  expect(limitLines([{ ...limit, above: 1.6 }, { ...limit, below: 0.6 }, { ...limit, equals: 3 }])).toEqual([
    { at: 1.6, severity: "major" },
    { at: 0.6, severity: "major" },
  ]);
});

test("a mark stands in the middle of a line by length", () => {
  expect(anchor({ type: "LineString", coordinates: [[0, 0], [4, 0], [4, 2]] })).toEqual([3, 0]);
  expect(anchor({ type: "Polygon", coordinates: [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]] })).toEqual([1, 1]);
});

test("a critical alert is heard every ten seconds until it is acknowledged, a major one once", () => {
  const silent = { major: new Set<number>(), criticalAtMs: Number.NEGATIVE_INFINITY };
  const critical = townOf([feature(1)], [alert(1, { severity: "critical" })]);
  const first = nextCall(critical, silent, 0);
  expect(first.call).toBe("two");
  expect(nextCall(critical, first.heard, REPEAT_MS - 1).call).toBeNull();
  expect(nextCall(critical, first.heard, REPEAT_MS).call).toBe("two");

  const major = townOf([feature(1)], [alert(1, { severity: "major" })]);
  const once = nextCall(major, silent, 0);
  expect(once.call).toBe("one");
  expect(nextCall(major, once.heard, REPEAT_MS).call).toBeNull();

  const done = townOf([feature(1)], [alert(1, { severity: "critical", acknowledged_at: "2026-07-01T08:00:00Z" })]);
  expect(nextCall(done, first.heard, REPEAT_MS).call).toBeNull();
});
