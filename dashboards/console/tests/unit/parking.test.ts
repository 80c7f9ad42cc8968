import { describe, expect, test } from "vitest";
import { barShares, distanceM, freeText, inOrder, routes, type Lot } from "../../src/open/parking/lots";
import { say, timeText, wayText } from "../../src/open/parking/words";

function lot(id: string, more: Partial<Lot> = {}): Lot {
  return {
    id,
    name: { zh: id, en: id },
    position: [120.4851, 30.74536],
    position_gcj02: [120.489528, 30.743101],
    capacity: 100,
    free: { least: 40, most: 40 },
    occupied: { least: 60, most: 60 },
    unknown: 0,
    closed: 0,
    occupation: "open",
    trend: null,
    observed_at: null,
    ...more,
  };
}

describe("order", () => {
  const lots = [lot("c", { position: [120.49, 30.74] }), lot("a", { position: [120.5, 30.74] }), lot("b")];

  test("by name when nobody knows where the reader is", () => {
    expect(inOrder(lots, null, "en").map(({ id }) => id)).toEqual(["a", "b", "c"]);
  });

  test("the nearest first", () => {
    expect(inOrder(lots, [120.4901, 30.74], "en").map(({ id }) => id)).toEqual(["c", "b", "a"]);
  });

  test("a thousandth of a degree north is 111 m", () => {
    expect(distanceM([120.48, 30.74], [120.48, 30.741])).toBeCloseTo(111.195, 1);
  });
});

describe("numbers", () => {
  test("bounds are told as bounds, and nothing as nothing", () => {
    expect(freeText(lot("x"))).toBe("40");
    expect(freeText(lot("x", { free: { least: 12, most: 15 } }))).toBe("12–15");
    expect(freeText(lot("x", { free: { least: 0, most: 40 }, occupation: "unknown" }))).toBe("–");
    expect(freeText(lot("x", { occupation: "closed" }))).toBe("–");
  });

  test("a bar's parts are shares of all bays", () => {
    const shares = barShares(lot("x", { capacity: 50, occupied: { least: 20, most: 25 }, unknown: 5, closed: 10 }));
    expect(shares).toEqual({ taken: 40, unknown: 10, closed: 20 });
    expect(barShares(lot("x", { capacity: 0 }))).toEqual({ taken: 0, unknown: 0, closed: 0 });
  });

  test("ways are as coarse as they are worth", () => {
    expect([4, 87, 940, 951, 12_345].map((m) => wayText(m, "en"))).toEqual(["10 m", "90 m", "940 m", "1.0 km", "12 km"]);
  });

  test("times are told in their largest unit", () => {
    expect([0, 59_000, 61_000, 7_300_000, 2 * 86_400_000].map((ms) => timeText(ms, "zh", "age"))).toEqual([
      "刚刚", "59 秒前", "1 分钟前", "2 小时前", "2 天前",
    ]);
    expect(timeText(-5_000, "en", "age")).toBe("just now");
    expect(timeText(90_000, "en", "for")).toBe("1 min");
  });
});

test("Chinese maps get GCJ-02 with its axes as each wants them, the phone WGS-84; a name breaks out of no link", () => {
  const [amap, baidu, device] = routes(lot("x", { name: { zh: "停车&to=1", en: "" } }), "zh").map(({ href }) => href);
  expect(amap).toContain("?to=120.489528,30.743101,%E5%81%9C%E8%BD%A6%26to%3D1&");
  expect(baidu).toContain("location=30.743101,120.489528&");
  expect(device).toContain("geo:30.74536,120.4851?");
});

test("every word stands in both languages, with the same parameters", () => {
  expect(say("zh")("free.range", { least: 1, most: 2 })).toBe("1 至 2 个空位");
  expect(say("en")("free.range", { least: 1, most: 2 })).toBe("1 to 2 free bays");
});
