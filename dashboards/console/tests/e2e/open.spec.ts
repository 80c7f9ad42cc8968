/** What a visitor with a phone does, and how a wall screen is let in. */

import { expect, type Page } from "@playwright/test";
import { lot, OpenHub } from "../mock/open";
import { picture, storiesOf, violations } from "./page";

const test = storiesOf(() => OpenHub.start());

test.use({ viewport: { width: 390, height: 844 } });

const card = (page: Page, id: string) => page.locator(`[data-lot="${id}"]`);
const names = (page: Page) => page.locator(".lot h2").allTextContents();

test("tells free bays in both languages, and what is not known as such", async ({ page, hub }) => {
  await page.goto(`${hub.url}/parking?lang=zh&theme=light`);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("乌镇停车");
  await expect(card(page, "PL-1").locator(".free")).toHaveText("52");
  await expect(card(page, "PL-3").locator(".free")).toHaveText("12–15");
  await expect(card(page, "PL-3").getByRole("img")).toHaveAccessibleName("12 至 15 个空位");
  await expect(card(page, "PL-3")).toContainText("3 位不明");
  await expect(card(page, "PL-2")).toContainText("将满");
  await expect(card(page, "PL-4")).toContainText("已满");
  await expect(card(page, "PL-5").locator(".free")).toHaveText("–");
  await expect(card(page, "PL-5")).toContainText("暂无数据");
  await expect(card(page, "PL-1")).toContainText("车辆渐多");
  await expect(card(page, "PL-1")).toContainText("数据 2 分钟前");
  expect(await names(page)).toEqual([...(await names(page))].sort(new Intl.Collator("zh-CN").compare));
  await page.getByRole("button", { name: "EN" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Parking in Wuzhen");
  await expect(card(page, "PL-3").getByRole("img")).toHaveAccessibleName("12 to 15 free bays");
  await expect(card(page, "PL-4")).toContainText("Full");
  await expect(page.locator("html")).toHaveAttribute("lang", "en");
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  expect(hub.requests.filter((line) => !/ \/(parking|open\/.*|api\/v1\/parking)$/.test(line))).toEqual([]);
});

test("follows the hub by itself, and an open card stays open", async ({ page, hub }) => {
  await page.clock.install();
  await page.goto(`${hub.url}/parking?lang=zh`);
  await card(page, "PL-1").getByRole("button", { name: /^(导航到|Navigate to)/ }).click();
  await expect(card(page, "PL-1").getByRole("link", { name: "高德地图" })).toBeVisible();
  hub.board = { ...hub.board, changed_at: "later", lots: hub.board.lots.map((one) => (one.id === "PL-1" ? { ...one, free: { least: 49, most: 49 } } : one)) };
  await expect(async () => {
    await page.clock.runFor(16_000);
    await expect(card(page, "PL-1").locator(".free")).toHaveText("49", { timeout: 500 });
  }).toPass();
  await expect(card(page, "PL-1").getByRole("link", { name: "高德地图" })).toBeVisible();
});

test("says when it is old, greys what it shows, and comes back by itself", async ({ page, hub }) => {
  await page.clock.install();
  await page.goto(`${hub.url}/parking?lang=zh`);
  await expect(card(page, "PL-1")).toBeVisible();
  hub.counting = false;
  await page.clock.runFor(75_000);
  await expect(page.getByRole("status")).toContainText("未能更新");
  await expect(page.locator("html")).toHaveClass(/stale/);
  await picture(page, "parking-stale", true);
  hub.counting = true;
  await expect(async () => {
    await page.clock.runFor(16_000);
    await expect(page.locator("html")).not.toHaveClass(/stale/, { timeout: 500 });
  }).toPass();
  await expect(page.getByRole("status")).toBeEmpty();
});

test("a hub that never answered is told from an empty town", async ({ page, hub }) => {
  hub.counting = false;
  await page.clock.install();
  await page.goto(`${hub.url}/parking?lang=en`);
  await page.clock.runFor(12_000);
  await expect(page.getByRole("status")).toContainText("cannot be read now");
  await expect(page.getByText("There is no car park yet.")).toBeHidden();
  hub.board = { ...hub.board, lots: [] };
  hub.counting = true;
  // The page waits for an answer before it counts to the next question.
  await expect(async () => {
    await page.clock.runFor(16_000);
    await expect(page.getByText("There is no car park yet.")).toBeVisible({ timeout: 500 });
  }).toPass();
});

test("leads there by plain links", async ({ page, hub }) => {
  hub.board.lots = [lot("PL-9", "乌镇 & <b>停车</b>", "Lot", [120.4851, 30.74536], { position_gcj02: [120.489528, 30.743101] })];
  await page.goto(`${hub.url}/parking?lang=zh`);
  await expect(page.locator(".lot b")).toHaveCount(0);
  await card(page, "PL-9").getByRole("button", { name: /^(导航到|Navigate to)/ }).click();
  const href = (name: string) => card(page, "PL-9").getByRole("link", { name }).getAttribute("href");
  const name = encodeURIComponent("乌镇 & <b>停车</b>");
  expect(await href("高德地图")).toContain(`to=120.489528,30.743101,${name}&mode=car&coordinate=gaode`);
  expect(await href("百度地图")).toContain("location=30.743101,120.489528&");
  expect(await href("百度地图")).toContain("coord_type=gcj02");
  expect(await href("手机地图")).toBe(`geo:30.74536,120.4851?q=30.74536,120.4851(${name})`);
});

test.describe("with a position", () => {
  test.use({ geolocation: { longitude: 120.4833, latitude: 30.739 }, permissions: ["geolocation"] });

  test("the nearest lot comes first, with the way to it; nothing of it is sent", async ({ page, hub }) => {
    await page.goto(`${hub.url}/parking?lang=zh`);
    await page.getByRole("button", { name: "按距离排序" }).click();
    await expect(page.locator(".lot").first()).toHaveAttribute("data-lot", "PL-4");
    await expect(card(page, "PL-4")).toContainText("10 米");
    await expect(card(page, "PL-1")).toContainText("1.5 公里");
    await expect(page.getByRole("button", { name: "按距离排序" })).toBeHidden();
    expect(hub.requests.filter((line) => line.startsWith("POST"))).toEqual([]);
  });
});

for (const theme of ["light", "dark"] as const) {
  for (const lang of ["zh", "en"] as const) {
    test(`has no accessibility violation, ${lang} ${theme}`, async ({ page, hub }) => {
      await page.goto(`${hub.url}/parking?lang=${lang}&theme=${theme}`);
      await card(page, "PL-3").getByRole("button", { name: /^(导航到|Navigate to)/ }).click();
      expect(await violations(page)).toEqual([]);
      await picture(page, `parking-${lang}-${theme}`, true);
      await page.setViewportSize({ width: 1280, height: 800 });
      await picture(page, `parking-wide-${lang}-${theme}`, true);
    });
  }
}

test("a link makes a screen a wall, once and only by a press", async ({ page, hub }) => {
  await page.goto(`${hub.url}/wall/join?lang=zh&theme=light#c0de`);
  expect(new URL(page.url()).hash).toBe("");
  expect(hub.requests.filter((line) => line.startsWith("POST"))).toEqual([]);
  expect(await violations(page)).toEqual([]);
  await picture(page, "join", true);
  await page.getByRole("button", { name: "设为大屏" }).click();
  await expect(page).toHaveURL(`${hub.url}/wall`);
  await page.goto(`${hub.url}/wall/join?lang=en#c0de`);
  await page.getByRole("button", { name: "Make it a wallboard" }).click();
  await expect(page.getByRole("alert")).toContainText("older than 15 minutes");
});

test("whoever is signed in makes a link for a wall", async ({ page, hub }) => {
  await page.goto(`${hub.url}/wall/join?lang=en&theme=dark`);
  await page.getByLabel("Name of the wall").fill("Duty room");
  await page.getByRole("button", { name: "Make a link" }).click();
  await expect(page.getByRole("link", { name: "Sign in first" })).toBeVisible();
  hub.signedIn = true;
  await page.getByRole("button", { name: "Make a link" }).click();
  await expect(page.locator("code")).toHaveText(`${hub.url}/wall/join#abcd`);
  expect(await violations(page)).toEqual([]);
});
