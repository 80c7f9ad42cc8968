import { describe, expect, test } from "vitest";
import type { BaseMap, MapAnswer } from "../../src/api/types";
import { CROWD, crowdsOf, CROWDS_BELOW, LEAST_ZOOM } from "../../src/map/clusters";
import { readingFeatures } from "../../src/map/features";
import { groundLayers, groundSources, isDark } from "../../src/map/ground";
import { buildStyle } from "../../src/map/layers";
import type { Palette } from "../../src/map/palette";
import { firstMoment, momentOf, momentsOf, unknownMoment } from "../../src/map/past";
import { mapWord } from "../../src/map/words";
import { SCHEMATIC } from "../../src/town/ground";
import { initials } from "../../src/town/search";
import { listAssets, NO_FILTER } from "../../src/town/select";
import { alert, feature, mapOf, NOW, townOf } from "./sample";

const palette = new Proxy({} as Palette, { get: () => "#e9ebea" });

describe("crowds", () => {
  const at = (id: number, lon: number, lat: number, kind = "manhole" as const) => {
    const made = feature(id, { kind });
    return { ...made, geometry: { type: "Point" as const, coordinates: [lon, lat] } };
  };

  test("a crowd is one mark per zoom, and its members come by themselves when they can be told apart", () => {
    const many = Array.from({ length: 60 }, (_, n) => at(n + 1, 120.4801 + n * 2e-5, 30.7401));
    const few = Array.from({ length: CROWD }, (_, n) => at(n + 100, 120.6, 30.74));
    const town = townOf([...many, ...few]);
    const { from, marks } = crowdsOf(town.assets.values());
    for (let zoom = LEAST_ZOOM; zoom < CROWDS_BELOW; zoom += 1) {
      const here = marks.features.filter(({ properties }) => properties?.zoom === zoom);
      const counted = here.reduce((sum, { properties }) => sum + Number(properties?.count), 0);
      const alone = [...town.assets.keys()].filter((number) => (from.get(number) ?? 0) <= zoom);
      // Every asset is drawn once: by itself, or in one crowd.
      expect(counted + alone.length, `zoom ${zoom}`).toBe(town.assets.size);
    }
    expect(few.every(({ id }) => !from.has(id))).toBe(true);
    expect(from.size).toBe(60);
  });

  test("pipes and bays are in no crowd", () => {
    const bays = Array.from({ length: 80 }, (_, n) => feature(n + 1, { kind: "parking-bay", family: "parking" }));
    const same = bays.map((bay) => ({ ...bay, geometry: { type: "Point" as const, coordinates: [120.48, 30.74] } }));
    expect(crowdsOf(townOf(same).assets.values()).marks.features).toEqual([]);
  });

  test("of fifty thousand every crowd has its place, and no thing is in two", () => {
    const features = Array.from({ length: 50_000 }, (_, n) => at(n + 1, 120.44 + (n % 250) * 4e-4, 30.7 + Math.floor(n / 250) * 4e-4));
    const town = townOf(features);
    const { from, marks } = crowdsOf(town.assets.values());
    const counted = marks.features
      .filter(({ properties }) => properties?.zoom === LEAST_ZOOM)
      .reduce((sum, { properties }) => sum + Number(properties?.count), 0);
    expect(counted).toBe(from.size);
    expect(marks.features.length).toBeGreaterThan(100);
  });
});

describe("search", () => {
  test("initials of pinyin", () => {
    expect(initials("西栅大街")).toBe("xzdj");
    expect(initials("望津桥闸 SG-001")).toBe("wjqzsg001");
    expect(initials("长丰路")).toBe("cfl");
    expect(initials("车溪")).toBe("cx");
    expect(initials("Ziye Rd")).toBe("ziyerd");
    expect(initials("→…")).toBe("");
  });

  test("of the 3755 commonest characters all but a handful with several readings are right", () => {
    // GB 2312 lists them in the order of their pinyin; these are the first of each initial.
    const first = [0xb0a1, 0xb0c5, 0xb2c1, 0xb4ee, 0xb6ea, 0xb7a2, 0xb8c1, 0xb9fe, 0xbbf7, 0xbfa6, 0xc0ac, 0xc2e8, 0xc4c3,
      0xc5b6, 0xc5be, 0xc6da, 0xc8bb, 0xc8f6, 0xcbfa, 0xcdda, 0xcef4, 0xd1b9, 0xd4d1];
    const decoder = new TextDecoder("gbk");
    let [all, wrong] = [0, ""];
    for (let code = 0xb0a1; code <= 0xd7f9; code += 1) {
      if ((code & 255) < 0xa1 || (code & 255) > 0xfe) continue;
      const character = decoder.decode(new Uint8Array([code >> 8, code & 255]));
      all += 1;
      if (initials(character) !== "abcdefghjklmnopqrstwxyz"[first.findLastIndex((from) => from <= code)]) wrong += character;
    }
    expect(all).toBe(3755);
    expect(wrong.length, wrong).toBeLessThan(20);
  });

  test("an asset is found by id, names, street and initials, and narrowed by kind and zone", () => {
    const town = townOf([
      feature(1, { name: { zh: "西栅大街 3 号井", en: "Xizha manhole 3" }, street: "xizha-street", zone: "west" }),
      feature(2, { name: { zh: "望津桥闸", en: "Wangjin gate" }, kind: "sluice-gate", family: "gates", zone: "west" }),
      feature(3, { name: { zh: "东大街 1 号井", en: "East manhole 1" }, zone: null }),
    ]);
    const found = (more: Partial<typeof NO_FILTER>): number[] =>
      listAssets(town, { ...NO_FILTER, ...more }).map(({ number }) => number);
    expect(found({ text: "xzdj" })).toEqual([1]);
    expect(found({ text: "xizha-str" })).toEqual([1]);
    expect(found({ text: "WJQ" })).toEqual([2]);
    expect(found({ text: "mh-3" })).toEqual([3]);
    expect(found({ zones: new Set(["west"]) })).toEqual([1, 2]);
    expect(found({ zones: new Set(["west"]), kinds: new Set(["manhole"]) })).toEqual([1]);
  });
});

describe("ground", () => {
  const raster: BaseMap = {
    ...SCHEMATIC, base: "tianditu", kind: "raster", layers: ["base", "labels"], max_zoom: 18,
    tiles: "/api/v1/basemap/tiles/{layer}/{z}/{x}/{y}",
  };
  const vector: BaseMap = { ...raster, base: "file", kind: "vector", layers: ["base"], parts: ["water", "roads"] };

  test("every address is the hub's own", () => {
    for (const ground of [SCHEMATIC, raster, vector, { ...SCHEMATIC, kind: "geojson" as const, data: "/api/v1/basemap/data" }]) {
      const urls = JSON.stringify(groundSources(ground, "http://hub")).match(/"(https?:\/\/[^/]+|\/)[^"]*"/g) ?? [];
      expect(urls.length, ground.kind).toBeGreaterThan(0);
      for (const url of urls) expect(url).toMatch(/^"(http:\/\/hub\/api\/|\/api\/|\/assets\/)/);
    }
    expect(groundSources(raster, "http://hub")["ground-labels"]).toMatchObject({
      tiles: ["http://hub/api/v1/basemap/tiles/labels/{z}/{x}/{y}"], tileSize: 256, maxzoom: 18,
    });
  });

  test("of vector tiles only the parts that are there are drawn, and every layer has its source", () => {
    const parts = groundLayers(vector, palette, "zh").flatMap((layer) => ("source-layer" in layer ? [layer["source-layer"]] : []));
    expect(new Set(parts)).toEqual(new Set(["water", "roads"]));
    for (const ground of [SCHEMATIC, raster, vector]) {
      const style = buildStyle(palette, "en", ground, "http://hub");
      const ids = style.layers.map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      for (const layer of style.layers) if ("source" in layer) expect(Object.keys(style.sources)).toContain(layer.source);
    }
  });

  test("dark is dark", () => {
    expect([isDark("#0f1316"), isDark("#e9ebea"), isDark("")]).toEqual([true, false, false]);
  });
});

describe("the past", () => {
  test("moments are round, so that the same one is asked for twice only once", () => {
    const { firstMs, lastMs, stepMs } = momentsOf("day", NOW + 123_456);
    expect([lastMs % stepMs, (lastMs - firstMs) / stepMs]).toEqual([0, 144]);
    expect(momentsOf("week", NOW).firstMs).toBeLessThan(firstMs);
  });

  test("a town of the past has today's things with yesterday's state, and nothing of now", () => {
    const gauge = {
      device: "g-2", metric: "canal.level", label: { zh: "水位", en: "Level" }, unit: "m", value: 1.9, state: null,
      quality: "good" as const, reason: null, observed_at: "2026-07-01T08:00:00Z",
    };
    const live = townOf(
      [feature(1, { severity: 1 }), feature(2, { kind: "canal-gauge", family: "gates", headline: gauge }), feature(3)],
      [alert(1)],
    );
    const then: MapAnswer = {
      ...mapOf([feature(1), feature(2, { kind: "canal-gauge", family: "gates", headline: { ...gauge, value: 1.2 } })]),
      alerts: [alert(9, { asset_number: 2 }), alert(8, { active: false, acknowledged_at: "2026-07-01T06:00:00Z" })],
    };
    const { town: past, headlines, reading } = momentOf(live, NOW, then);
    expect(reading).toBe(false);
    expect(headlines.get(2)?.value).toBe(1.2);
    expect(past.assets).toBe(live.assets);
    expect(past.shown.get(1)?.severity).toBe(0);
    expect(past.shown.get(3)?.freshness, "out of sight").toBe("never");
    expect([...past.alerts.keys()]).toEqual([9]);
    const texts = (town: typeof live): unknown[] => readingFeatures(town, NO_FILTER, "en").features.map(({ properties }) => properties?.text);
    expect(texts(live)).toEqual(["1.90 m"]);
    expect(texts(past)).toEqual(["1.20 m"]);
    expect(texts(momentOf(live, NOW, mapOf([feature(1)])).town), "no value of now stands in the past").toEqual([]);
  });

  test("until a moment is read, and when it cannot be, nothing of now stands in it", () => {
    const live = townOf([feature(1, { severity: 1 })], [alert(1)]);
    const waiting = unknownMoment(live, firstMoment(NOW));
    expect([waiting.reading, waiting.failed]).toEqual([true, null]);
    expect([waiting.town.alerts.size, waiting.town.shown.get(1)?.severity]).toEqual([0, 0]);
    expect(NOW - waiting.atMs).toBeGreaterThanOrEqual(2 * 3_600_000);
    const failed = unknownMoment(live, NOW, "unavailable");
    expect([failed.reading, failed.failed, failed.town.alerts.size]).toEqual([false, "unavailable", 0]);
  });

  test("its words stand in both languages", () => {
    expect(mapWord("zh", "past.more", { count: 3 })).toBe("另有 3 条");
    expect(mapWord("en", "past.more", { count: 3 })).toBe("3 more");
  });
});
