/** The map's stories: grounds, filters, search, coordinates, playback; in both languages and three sizes. */

import type { Page } from "@playwright/test";
import { SCHEMATIC } from "../../src/town/ground";
import { expect, open, openWithoutMap, test } from "./hub";
import { heldBack } from "./page";

const TIANDITU = {
  ...SCHEMATIC,
  base: "tianditu" as const,
  crs: "gcj02" as const,
  kind: "raster" as const,
  layers: ["base", "labels"],
  tiles: "/api/v1/basemap/tiles/{layer}/{z}/{x}/{y}",
  max_zoom: 18,
  attribution: { zh: "天地图", en: "Tianditu" },
};

test("pictures of a map server come through the hub, in its coordinates, with its name", async ({ page, hub }) => {
  hub.ground = TIANDITU;
  await open(page, hub);
  await expect(page.locator(".caption")).toHaveText("天地图");
  await expect.poll(() => hub.requests.some((line) => line.includes("/basemap/tiles/labels/"))).toBe(true);
  expect(hub.queries.some((query) => query.startsWith("/api/v1/map?") && query.includes("crs=gcj02"))).toBe(true);
  await page.locator("canvas").hover({ position: { x: 400, y: 300 } });
  await expect(page.locator(".place")).toContainText(/^\d+\.\d{5}, \d+\.\d{5} GCJ-02$/);
});

test("a base map that cannot be used is told, and the schematic stands in", async ({ page, hub }) => {
  hub.ground = { ...SCHEMATIC, problem: "cannot read /maps/wuzhen.pmtiles" };
  await open(page, hub, "?lang=en&theme=light");
  await expect(page.locator(".caption")).toContainText("Schematic, not for measurement · the configured base map cannot be used");
});

test("layers and zones narrow the map and the lists, and can be cleared", async ({ page, hub }) => {
  await open(page, hub);
  await page.getByText("图层与分区").click();
  const all = await page.getByRole("button", { name: /^设施/ }).innerText();
  await page.getByRole("checkbox", { name: /水闸/ }).check();
  await expect(page.getByRole("button", { name: /^设施/ })).toHaveText(/设施\s*6/);
  await page.getByRole("checkbox", { name: "西栅" }).check();
  await expect(page.getByRole("button", { name: /^设施/ })).toHaveText(/设施\s*0/);
  await page.getByRole("button", { name: "全部显示" }).click();
  await expect(page.getByRole("button", { name: /^设施/ })).toHaveText(all, { useInnerText: true });
});

async function playBack(page: Page, name: string): Promise<void> {
  await page.getByRole("button", { name }).click();
}

test("playback shows the past in a frame, and nothing of it acts on the present", async ({ page, hub }) => {
  await open(page, hub);
  const stood = hub.town.alerts.length;
  await playBack(page, "历史回放");
  const history = page.getByRole("region", { name: "历史 HISTORY" });
  await expect(history).toContainText("不能下令、不能确认");
  const then = page.getByRole("region", { name: "当时未了的告警" });
  await expect(then.getByRole("listitem")).toHaveCount(1);
  expect(stood).toBeGreaterThan(1);
  // A row of then shows where it was and what was measured; nothing can be done about it, and the keys of now are off.
  await then.getByRole("listitem").getByRole("button").click();
  await expect(then.locator(".chosen")).toBeVisible();
  await expect(then.locator("button:not(.row, .icon, .leave)")).toHaveCount(0);
  await page.keyboard.press("n");
  await page.keyboard.press("a");
  expect(hub.acknowledged).toEqual([]);
  await expect(page.locator(".detail")).toHaveCount(0);
  // The slider goes by the keyboard, and each moment is asked for by its time.
  const before = hub.queries.filter((query) => query.includes("at=")).length;
  await page.getByRole("slider", { name: "回放时刻" }).press("ArrowLeft");
  await expect.poll(() => hub.queries.filter((query) => query.includes("at=")).length).toBe(before + 1);
  await page.getByRole("slider", { name: "回放时刻" }).press("ArrowRight");
  await page.getByLabel("回放范围").selectOption("7 天");
  await page.getByRole("button", { name: "播放", exact: true }).click();
  await expect.poll(() => hub.queries.filter((query) => query.includes("at=")).length).toBeGreaterThan(before + 2);
  await page.getByRole("button", { name: "回到现在" }).click();
  await expect(history).toHaveCount(0);
  await expect(page.locator("[data-alert]").first()).toBeVisible();
});

test("no key of cases, gates, shelves or the wall acts while the past is shown", async ({ page, hub }) => {
  await open(page, hub);
  await page.locator("[data-alert]").first().click();
  await playBack(page, "历史回放");
  await expect(page.getByRole("region", { name: "当时未了的告警" })).toBeVisible();
  const sent = (): string[] => hub.requests.filter((line) => line.startsWith("POST"));
  for (const key of ["c", "a", "s", "g", "w", "x", "X", "j", "n", "Enter"]) await page.keyboard.press(key);
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page.getByRole("form")).toHaveCount(0);
  await expect(page.getByRole("region", { name: "历史 HISTORY" })).toBeVisible();
  expect(sent()).toEqual([]);
});

test("nothing is ordered from the press on, however slow the hub is with the past", async ({ page, hub }) => {
  await open(page, hub);
  await page.getByRole("button", { name: /^设施/ }).click();
  await page.getByRole("searchbox").fill("fulan");
  await page.locator(".row").click();
  await expect(page.getByRole("button", { name: "远程控制" })).toBeVisible();
  const answer = await heldBack(page, /\/api\/v1\/map\?.*at=/);
  await playBack(page, "历史回放");
  const then = page.getByRole("region", { name: "当时未了的告警" });
  await expect(then).toContainText("正在读取");
  await expect(then.getByRole("listitem"), "nothing of now stands in the past").toHaveCount(0);
  await page.keyboard.press("g");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  answer();
  await expect(then).not.toContainText("正在读取");
  await page.keyboard.press("g");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  expect(hub.requests.filter((line) => line.startsWith("POST"))).toEqual([]);
});

test("a moment that cannot be read says so, and shows nothing in its place", async ({ page, hub }) => {
  await open(page, hub, "?lang=en&theme=light");
  await page.route(/\/api\/v1\/map\?.*at=/, (route) =>
    route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "unavailable", title: "x" }) }),
  );
  await playBack(page, "Playback");
  const then = page.getByRole("region", { name: "Alerts that stood open" });
  await expect(then).toContainText("This moment cannot be read");
  await expect(then.getByRole("listitem")).toHaveCount(0);
});

test("without WebGL the lists do everything, initials of pinyin find a gate, and no tool of the map stands alone", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  await expect(page.locator("section.map .notice")).toBeVisible();
  await expect(page.locator("section.map .tools")).toHaveCount(0);
  await page.getByRole("button", { name: /^设施/ }).click();
  await page.getByRole("searchbox").fill("wjqz");
  await expect(page.locator(".row .name")).toHaveText(["望津桥闸"]);
});

test("the past that comes after it was left does not come back", async ({ page, hub }) => {
  await open(page, hub);
  const answer = await heldBack(page, /\/api\/v1\/map\?.*at=/);
  await playBack(page, "历史回放");
  await page.getByRole("button", { name: "回到现在" }).click();
  const late = page.waitForResponse(/at=/);
  answer();
  await (await late).finished();
  await expect(page.locator("[data-alert]").first()).toBeVisible();
  await page.keyboard.press("n");
  await expect(page.locator("[data-alert][aria-current], .detail").first()).toBeVisible();
  await expect(page.getByRole("region", { name: "当时未了的告警" })).toHaveCount(0);
});

test("Escape leads back to now", async ({ page, hub }) => {
  await open(page, hub, "?lang=en&theme=dark");
  await playBack(page, "Playback");
  await expect(page.getByRole("region", { name: "HISTORY" })).toContainText("no commands, no acknowledging");
  await expect(page.getByRole("region", { name: "Alerts that stood open" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("region", { name: "HISTORY" })).toHaveCount(0);
});

const SIZES = { wide: [1920, 1080], laptop: [1366, 768], phone: [390, 844] } as const;
const folder = process.env.PICTURES ?? "";

for (const language of ["zh", "en"] as const) {
  test(`the map's tools stay inside the map in every size, ${language}`, async ({ page, hub }) => {
    const isChinese = language === "zh";
    await page.setViewportSize({ width: SIZES.wide[0], height: SIZES.wide[1] });
    await open(page, hub, `?lang=${language}&theme=${isChinese ? "light" : "dark"}`);
    const inside = async (selector: string): Promise<void> => {
      const [map, part] = [await page.locator("section.map").boundingBox(), await page.locator(selector).first().boundingBox()];
      expect(part && map && part.x >= map.x && part.x + part.width <= map.x + map.width + 1, selector).toBe(true);
    };
    for (const [name, [width, height]] of Object.entries(SIZES)) {
      await page.setViewportSize({ width, height });
      if (name === "phone") await page.getByRole("button", { name: isChinese ? "地图" : "Map", exact: true }).click();
      await expect(page.locator("section.map .tools")).toBeVisible();
      await inside("section.map .tools");
      if (folder !== "") {
        await page.getByText(isChinese ? "图层与分区" : "Layers and zones").click();
        await page.screenshot({ path: `${folder}/map-${name}-${language}.png` });
        await page.getByText(isChinese ? "图层与分区" : "Layers and zones").click();
      }
      await playBack(page, isChinese ? "历史回放" : "Playback");
      await expect(page.locator(".history .controls")).toBeVisible();
      await inside(".history .controls");
      await inside(".history .leave");
      if (folder !== "") {
        await page.waitForTimeout(2_000);
        await page.screenshot({ path: `${folder}/past-${name}-${language}.png` });
      }
      await page.keyboard.press("Escape");
      await expect(page.locator(".history")).toHaveCount(0);
    }
  });
}
