import type { Page } from "@playwright/test";
import type { Alert } from "../../src/api/types";
import { MockHub } from "../mock/server";
import { quietTown } from "../mock/town";
import { expect, open, openWithoutMap, test, violations } from "./hub";

const rows = (page: Page) => page.locator("[data-alert]");
const counts = (page: Page) => page.locator("header .counts strong");

function newAlert(hub: MockHub, asset: number, more: Partial<Alert> = {}): Alert {
  const model = hub.town.alerts[0];
  if (model === undefined) throw new Error("the storm has alerts");
  const at = new Date().toISOString();
  return {
    ...model, id: 900, asset_number: asset, device: `dev-${asset}`, severity: "critical", since: at, raised_at: at,
    text: { zh: "井盖被打开", en: "Manhole cover open" }, ...more,
  };
}

test("shows the map and the alerts in both languages", async ({ page, hub }) => {
  await open(page, hub);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("云享乌镇 · 一张图");
  await expect(counts(page)).toHaveText(["2", "4", "3", "3"]);
  await expect(rows(page)).toHaveCount(12);
  await expect(rows(page).first()).toContainText("水位接近地面");
  await expect(page.getByText("示意底图,不可用于测量")).toBeVisible();
  await page.keyboard.press("l");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Town hub");
  await expect(rows(page).first()).toContainText("Level close to the ground");
  await expect(page.getByText("Schematic, not for measurement")).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "en");
});

test("a chosen alert shows value, limit, quality and its day; acknowledging by mouse keeps the row in place", async ({ page, hub }) => {
  await open(page, hub);
  const first = rows(page).first();
  await first.click();
  const detail = page.getByRole("article");
  await expect(detail.getByRole("heading")).toHaveText("子夜路4号井");
  await expect(detail.locator(".facts")).toContainText("2.31 m");
  await expect(detail.locator(".facts")).toContainText("2.20 m");
  await expect(detail.getByRole("row", { name: /井盖倾角/ })).toContainText("超出量程");
  await expect(detail.locator(".plot canvas")).toBeVisible();
  const before = await first.boundingBox();
  await detail.getByPlaceholder("备注(可不填)").fill("已派人");
  await detail.getByRole("button", { name: "确认", exact: true }).click();
  await expect(detail.locator("footer")).toContainText("admin 于");
  await expect(detail.locator("footer")).toContainText("已派人");
  expect(hub.acknowledged).toEqual([{ id: 101, note: "已派人" }]);
  await expect(first).toHaveAttribute("aria-current", "true");
  await expect(first).toContainText("已确认");
  expect(await first.boundingBox()).toEqual(before);
});

test("works by keyboard alone, and keys are off inside inputs", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  await page.keyboard.press("n");
  await expect(rows(page).first()).toHaveAttribute("aria-current", "true");
  await page.keyboard.press("j");
  await expect(rows(page).nth(1)).toHaveAttribute("aria-current", "true");
  await page.keyboard.press("k");
  await page.keyboard.press("a");
  await expect(rows(page).first()).toContainText("已确认");
  expect(hub.acknowledged.map(({ id }) => id)).toEqual([101]);
  await page.keyboard.press("/");
  await expect(page.getByRole("searchbox")).toBeFocused();
  await page.keyboard.type("manhole");
  await expect(page.getByRole("searchbox")).toHaveValue("manhole");
  expect(hub.acknowledged).toHaveLength(1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.keyboard.press("2");
  await expect(rows(page)).toHaveCount(4);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
});

test("tells when somebody else was faster", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  await rows(page).first().click();
  const alert = hub.town.alerts.find(({ id }) => id === 101);
  // The other operator's acknowledgement has not reached this page yet.
  if (alert) Object.assign(alert, { acknowledged_at: new Date().toISOString(), acknowledged_by: "li", version: 2 });
  await page.keyboard.press("a");
  await expect(page.getByRole("alert")).toHaveText("已被他人确认");
  await expect(page.locator("article footer")).toContainText("li 于");
});

test("a new alert, a changed state and a value arrive without a reload", async ({ page, hub }) => {
  await open(page, hub);
  await page.evaluate(() => Object.assign(window, { untouched: true }));
  hub.push(newAlert(hub, 1));
  await expect(rows(page).first()).toContainText("井盖被打开");
  await expect(counts(page).first()).toHaveText("3");
  await expect(page.locator("[aria-live=assertive]")).toContainText("特急告警");
  await rows(page).first().click();
  await expect(page.getByRole("article").getByRole("row", { name: /硫化氢/ })).toContainText("1.2 ppm");
  await expect.poll(() => hub.requests.filter((line) => line.endsWith("/live")).length).toBeGreaterThan(1);
  await expect(async () => {
    hub.value(1, "h2s", 7.4);
    await expect(page.getByRole("article").getByRole("row", { name: /硫化氢/ })).toContainText("7.4 ppm", { timeout: 300 });
  }).toPass();
  expect(await page.evaluate(() => "untouched" in window)).toBe(true);
});

test("says so when the data stop, and recovers by itself", async ({ page, hub }) => {
  await page.clock.install();
  await openWithoutMap(page, hub);
  hub.beating = false;
  await page.clock.fastForward(31_000);
  await expect(page.getByText(/数据已中断/)).toBeVisible();
  await expect(counts(page).first()).toHaveClass(/not-live/);
  hub.beating = true;
  await expect(page.getByText(/数据已中断/)).toBeHidden();
  await expect(counts(page).first()).not.toHaveClass(/not-live/);
});

test("a restarted hub is read anew", async ({ page, hub }) => {
  await open(page, hub);
  await expect(rows(page)).toHaveCount(12);
  hub.restart(quietTown());
  await expect(page.getByText("没有未了告警")).toBeVisible();
  await expect(counts(page).first()).toHaveText("0");
});

test("a cut stream comes back and brings what was missed", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  hub.cutStreams();
  hub.push(newAlert(hub, 3));
  await expect(rows(page).first()).toContainText("井盖被打开");
});

test("many tabs share one stream", async ({ page, context, hub }) => {
  await openWithoutMap(page, hub);
  const others = await Promise.all([1, 2].map(() => context.newPage()));
  for (const other of others) await openWithoutMap(other, hub);
  expect(hub.streamCount).toBe(1);
  hub.push(newAlert(hub, 5));
  for (const one of [page, ...others]) await expect(rows(one).first()).toContainText("井盖被打开");
});

test("every asset is reachable from the list, and a car park tells its free bays", async ({ page, hub }) => {
  await openWithoutMap(page, hub, "?lang=en&theme=light");
  await page.getByRole("button", { name: /^Assets/ }).click();
  await page.getByRole("searchbox").fill("xizha car park 1");
  await page.getByRole("button", { name: /^Xizha Car Park 1 / }).last().click();
  await expect(page.getByRole("article").getByRole("heading")).toContainText("Xizha Car Park 1");
  await page.getByRole("searchbox").fill("fulan");
  await page.locator(".row").click();
  await expect(page.getByRole("article").getByRole("row", { name: /Opening/ })).toContainText("0.85 m");
});

test("a click on the map chooses what lies there", async ({ page, hub }) => {
  await open(page, hub);
  await rows(page).first().click();
  await page.getByRole("button", { name: "关闭详情" }).click();
  const canvas = page.locator(".maplibregl-canvas");
  const box = await canvas.boundingBox();
  if (box === null) throw new Error("no map");
  // Marks stand where the map drew them; a scan finds one without knowing the projection.
  await expect(async () => {
    for (let x = 0.1; x < 0.9; x += 0.03) {
      await page.mouse.move(box.x + box.width * x, box.y + box.height * 0.82);
      if ((await canvas.evaluate((element) => element.style.cursor)) === "pointer") {
        await page.mouse.down();
        await page.mouse.up();
        return;
      }
    }
    throw new Error("nothing under the pointer yet");
  }).toPass();
  await expect(page.getByRole("article").getByRole("heading")).not.toBeEmpty();
});

test("a lost session leads to the login", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  hub.signedIn = false;
  hub.cutStreams();
  await expect(page).toHaveURL(/\/login$/);
});

test("without WebGL everything but the map works", async ({ page, hub }) => {
  await openWithoutMap(page, hub, "?lang=en");
  await expect(page.getByText("This browser cannot show the map")).toBeVisible();
  await page.keyboard.press("n");
  await page.keyboard.press("a");
  await expect(page.locator("article footer")).toContainText("Acknowledged by admin");
});

test.describe("on a phone", () => {
  test.use({ viewport: { width: 390, height: 844 } });

  test("the list comes first, the map is one tap away, the counts are shown once", async ({ page, hub }) => {
    await open(page, hub);
    await expect(rows(page).first()).toBeVisible();
    await expect(page.locator(".maplibregl-canvas")).toBeHidden();
    await expect(counts(page)).toHaveCount(4);
    await rows(page).first().click();
    await expect(page.getByRole("button", { name: "确认", exact: true })).toBeVisible();
    await page.getByRole("button", { name: "地图", exact: true }).click();
    await expect(page.locator(".maplibregl-canvas")).toBeVisible();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    expect(await violations(page)).toEqual([]);
  });
});

test("a hub without assets says what to do next", async ({ page, hub }) => {
  hub.town = { features: [], alerts: [] };
  await open(page, hub, "?lang=en");
  await expect(page.getByRole("heading", { name: "There are no devices yet" })).toBeVisible();
  await expect(page.getByRole("link", { name: "Import assets and devices" })).toBeVisible();
  expect(await violations(page)).toEqual([]);
});

for (const theme of ["light", "dark"]) {
  test(`has no accessibility violation, ${theme}`, async ({ page, hub }) => {
    await open(page, hub, `?lang=zh&theme=${theme}`);
    await rows(page).first().click();
    await expect(page.getByRole("article").locator(".plot canvas")).toBeVisible();
    expect(await violations(page)).toEqual([]);
    await page.getByRole("button", { name: /^设施/ }).click();
    await page.keyboard.press("?");
    expect(await violations(page)).toEqual([]);
  });
}

