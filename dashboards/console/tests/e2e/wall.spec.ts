/** The wallboard on its screen: nobody touches it. */

import type { Page } from "@playwright/test";
import type { Alert } from "../../src/api/types";
import type { OverdueCase } from "../../src/wall/overdue";
import { PAGE_MS } from "../../src/wall/pages";
import type { MockHub } from "../mock/server";
import { quietTown } from "../mock/town";
import { expect, test, violations } from "./hub";
import { picture } from "./page";

test.use({ viewport: { width: 1920, height: 1080 } });

function late(id: number, severity: OverdueCase["severity"], lateMin: number, overdue: OverdueCase["overdue"] = "fix"): OverdueCase {
  const due = new Date(Date.now() - lateMin * 60_000).toISOString();
  return {
    id, severity, overdue,
    title: { zh: "子夜路4号井 水位接近地面", en: "Ziye Rd manhole 4: level close to the ground" },
    unit: "drainage-2",
    deadlines: { accept: due, arrive: due, fix: due },
  };
}

/** The mock's own answer about cases is replaced: these are about what the wall asks for. */
async function withCases(page: Page, cases: OverdueCase[]): Promise<string[]> {
  const asked: string[] = [];
  await page.route("**/api/v1/cases?*", async (route) => {
    asked.push(new URL(route.request().url()).search);
    await route.fulfill({ json: { cases, next_before: null } });
  });
  return asked;
}

const SEVEN = [3, 9, 70, 4, 200, 31, 12].map((min, at) => late(40 + at, at % 2 === 0 ? "critical" : "major", min, at === 1 ? "accept" : "fix"));

async function open(page: Page, hub: MockHub, query: string): Promise<void> {
  await page.goto(`${hub.url}/wall.html${query}`);
  await expect(page.locator("[data-alert]").first()).toBeVisible({ timeout: 15_000 });
}

for (const [lang, theme] of [["zh", "light"], ["en", "dark"]] as const) {
  test(`shows alerts, overdue cases, the online rate and the time, ${lang} ${theme}`, async ({ page, hub }) => {
    const asked = await withCases(page, SEVEN);
    await open(page, hub, `?lang=${lang}&theme=${theme}`);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(lang === "zh" ? "乌镇 · 运行总览" : "Wuzhen · Overview");
    await expect(page.locator("header .counts strong")).toHaveText(["2", "4", "3", "3"]);
    await expect(page.locator("[data-alert]")).toHaveCount(7);
    await expect(page.locator("[data-case]")).toHaveCount(5);
    // The latest first: 200 minutes.
    await expect(page.locator("[data-case]").first()).toHaveAttribute("data-case", "44");
    await expect(page.locator("[data-case]").first()).toContainText(lang === "zh" ? "3 小时 20 分" : "3 h 20 min");
    await expect(page.locator("header .figure").first()).toContainText("%");
    expect(asked[0]).toContain("overdue=true");
    // Nothing to type into, nothing to press, nothing that scrolls; every number is read from across the room.
    await expect(page.locator("input, button, select, textarea, a")).toHaveCount(0);
    const sizes = await page.locator(".wall strong").evaluateAll((all) => all.map((one) => Number.parseFloat(getComputedStyle(one).fontSize)));
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(40);
    const over = await page.evaluate(() => [document.documentElement.scrollHeight - innerHeight, document.documentElement.scrollWidth - innerWidth]);
    expect(over.every((px) => px <= 0)).toBe(true);
    expect(await violations(page)).toEqual([]);
    await picture(page, `wall-${lang}-${theme}`);
  });
}

test("turns its pages by itself, and back to the first when something happens", async ({ page, hub }) => {
  await page.clock.install();
  await withCases(page, SEVEN);
  await open(page, hub, "?lang=zh");
  await expect(page.locator("#alerts")).toContainText("第 1 / 2 页");
  await page.clock.fastForward(PAGE_MS);
  await expect(page.locator("#alerts")).toContainText("第 2 / 2 页");
  await expect(page.locator("[data-alert]")).toHaveCount(5);
  await expect(page.locator("[data-case]")).toHaveCount(2);
  const model = hub.town.alerts[0] as Alert;
  const at = new Date().toISOString();
  hub.push({ ...model, id: 901, severity: "critical", since: at, raised_at: at, acknowledged_at: null, active: true, text: { zh: "井盖被打开", en: "Cover open" } });
  await expect(page.locator("[data-alert]").first()).toContainText("井盖被打开");
  await expect(page.locator("#alerts")).toContainText("第 1 / 2 页");
});

test("a calm town is told as such, and cases that cannot be read are not told as none", async ({ page, hub }) => {
  hub.town = quietTown();
  await page.route("**/api/v1/cases?*", (route) => route.fulfill({ status: 503, json: {} }));
  await page.goto(`${hub.url}/wall.html?lang=zh&theme=dark`);
  await expect(page.getByText("没有未了告警")).toBeVisible();
  await expect(page.getByText("暂时读不到案件")).toBeVisible();
  await expect(page.getByText("没有超时案件")).toBeHidden();
  await picture(page, "wall-calm");
});

test("says so when the data stop", async ({ page, hub }) => {
  await page.clock.install();
  await withCases(page, []);
  await open(page, hub, "?lang=en");
  hub.beating = false;
  await page.clock.fastForward(31_000);
  await expect(page.getByRole("status")).toContainText("Data interrupted");
  await expect(page.locator("#alerts strong")).toHaveClass(/not-live/);
  await picture(page, "wall-stale");
});

test("a screen that nobody let in says how, and does not lead to a login that nobody can type", async ({ page, hub }) => {
  await page.clock.install();
  await withCases(page, []);
  await open(page, hub, "?lang=zh");
  hub.signedIn = false;
  await page.route("**/api/v1/status", (route) => route.fulfill({ status: 401, json: { code: "not_authenticated" } }));
  hub.restart(hub.town);
  // The next look at the hub.
  await page.clock.fastForward(15_100);
  await expect(page.getByRole("heading", { name: "此屏未登录" })).toBeVisible();
  await expect(page).toHaveURL(/wall\.html/);
});
