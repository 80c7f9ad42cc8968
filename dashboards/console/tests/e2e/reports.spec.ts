/** Reports: what an office reads, compares, takes away as CSV and prints. */

import type { Page } from "@playwright/test";
import type { MockHub } from "../mock/server";
import { ReportDesk } from "../mock/reports";
import { expect, test, violations, withoutMap } from "./hub";
import { picture } from "./page";

const UNITS = Array.from({ length: 50 }, (_, i) => `unit-${i + 1}`);

async function openReports(page: Page, hub: MockHub, desk: ReportDesk, query = "", look = "lang=zh&theme=light"): Promise<void> {
  hub.also(desk.answer);
  await withoutMap(page);
  await page.goto(`${hub.url}/?${look}&page=reports${query}`);
  await expect(page.locator(".report, .notice.bad").first()).toBeVisible({ timeout: 25_000 });
}

test("a month is told in the words of the trade, against its targets and the time before", async ({ page, hub }) => {
  await openReports(page, hub, new ReportDesk([]), "&period=month&from=2026-09-01");
  const cases = page.locator(".sheet", { has: page.getByRole("heading", { name: "案卷处置", exact: true }) });
  for (const text of ["受理", "1,054", "立案", "996", "应结案", "972", "结案率", "93.72%", "按期结案率", "75.82%"]) {
    await expect(cases).toContainText(text);
  }
  await expect(cases).toContainText("环比 +105");
  const row = (name: string) => page.getByRole("row", { name });
  await expect(row("峰值(10 分钟内)")).toContainText("未达标");
  await expect(row("告警率")).toContainText("≤ 1");
  await expect(row("告警率")).toContainText("达标");
  await expect(row("告警泛滥时段占比")).toContainText("可接受");
  await expect(page.getByText("2026年9月").first()).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await picture(page, "reports");
});

test("period, grouping and zone stand in the address, and the way back works", async ({ page, hub }) => {
  const desk = new ReportDesk(["xizha", "dongzha", null]);
  await openReports(page, hub, desk, "&period=month&from=2026-09-01");
  await page.getByLabel("分组").selectOption("zone");
  await expect(page).toHaveURL(/by=zone/);
  const table = page.getByRole("region", { name: "案卷处置,按片区" });
  await expect(table.getByRole("rowheader")).toHaveText(["西栅", "东栅", "未划片区", "合计"]);
  await table.getByRole("button", { name: "受理" }).click();
  await expect(table.getByRole("rowheader")).toHaveText(["未划片区", "东栅", "西栅", "合计"]);
  await page.getByRole("combobox", { name: "片区", exact: true }).selectOption("dongzha");
  await page.getByRole("button", { name: "上一期" }).click();
  await expect(page).toHaveURL(/from=2026-08-01/);
  await expect.poll(() => desk.asked.at(-1)).toMatchObject({ from: "2026-08-01", to: "2026-09-01", by: "zone", zone: "dongzha" });
  await page.goBack();
  await expect(page.locator(".turn strong")).toHaveText("2026年9月");
  await page.getByRole("button", { name: "季报" }).click();
  await expect(page.locator(".turn strong")).toHaveText("2026年第3季度");
});

test("days of one's own are checked before the hub is asked", async ({ page, hub }) => {
  const desk = new ReportDesk([]);
  await openReports(page, hub, desk, "&period=custom&from=2026-09-03&to=2026-09-09");
  expect(desk.asked.at(-1)).toMatchObject({ from: "2026-09-03", to: "2026-09-10" });
  const before = desk.asked.length;
  await page.getByLabel("止(含当日)").fill("2026-09-01");
  await expect(page.getByRole("alert")).toHaveText("起始日期晚于截止日期。");
  await expect(page.getByRole("button", { name: "打印" })).toBeDisabled();
  expect(desk.asked.length).toBe(before);
});

test("sheets and rows are taken away as CSV of the same question", async ({ page, hub }) => {
  await openReports(page, hub, new ReportDesk([]), "&period=month&from=2026-09-01&by=kind&zone=xizha", "lang=en&theme=light");
  const link = (name: string) => page.getByRole("link", { name });
  const asked = "from=2026-09-01&to=2026-10-01";
  await expect(link("Summary CSV").first()).toHaveAttribute("href", `/api/v1/reports/cases?${asked}&by=kind&zone=xizha&format=csv&lang=en`);
  await expect(link("Cases CSV")).toHaveAttribute("href", `/api/v1/reports/export?${asked}&zone=xizha&of=cases&lang=en`);
  await expect(link("Alerts CSV")).toHaveAttribute("href", `/api/v1/reports/export?${asked}&zone=xizha&of=alerts&lang=en`);
});

test("a refusal is worded and asked again; an empty time says so", async ({ page, hub }) => {
  const desk = new ReportDesk([], 0);
  desk.refuse = "internal";
  await openReports(page, hub, desk, "&period=day&from=2026-09-01&by=zone");
  await expect(page.getByRole("alert")).toBeVisible();
  desk.refuse = null;
  await page.getByRole("button", { name: "再试一次" }).click();
  await expect(page.getByText("本时段没有案卷,也没有告警。")).toBeVisible();
  await expect(page.getByText("本时段没有可分组的数据。").first()).toBeVisible();
  await expect(page.getByRole("row", { name: "前十规则占比" })).toContainText("无数据");
});

test("on paper stands the report alone, white, with its head, and nothing reaches over the edge", async ({ page, hub }) => {
  await openReports(page, hub, new ReportDesk(UNITS), "&period=month&from=2026-09-01&by=unit", "lang=zh&theme=dark");
  // A4 less its margins, at 96 dots an inch.
  await page.setViewportSize({ width: 703, height: 1000 });
  await page.emulateMedia({ media: "print" });
  await expect(page.locator(".paper h1")).toHaveText("乌镇运行管理月报");
  await expect(page.locator(".paper")).toContainText("统计时段:2026年9月");
  await expect(page.locator(".paper")).toContainText("生成时间:");
  await expect(page.locator(".console-head, .choice, .page-head").first()).toBeHidden();
  await expect(page.locator(".links").first()).toBeHidden();
  const look = await page.evaluate(() => {
    const ink = getComputedStyle(document.body).color;
    const rows = [...document.querySelectorAll(".table tr")].map((row) => getComputedStyle(row).breakInside);
    const over = [...document.querySelectorAll(".table")].filter((table) => table.getBoundingClientRect().right > innerWidth);
    return { ink, rows: new Set(rows).size === 1 ? rows[0] : "mixed", over: over.length };
  });
  expect(look).toEqual({ ink: "rgb(28, 34, 38)", rows: "avoid", over: 0 });
  const pages = (await page.pdf({ preferCSSPageSize: true })).toString("latin1").match(/\/Type \/Page\b(?!s)/g)?.length ?? 0;
  expect(pages).toBeGreaterThanOrEqual(3);
  expect(pages).toBeLessThanOrEqual(6);
});

test.describe("on a phone", () => {
  test.use({ viewport: { width: 390, height: 844 } });

  test("a year by day is a chart and a table that scroll in themselves", async ({ page, hub }) => {
    const days = Array.from({ length: 365 }, (_, i) => new Date(Date.UTC(2025, 0, 1 + i)).toISOString().slice(0, 10));
    await openReports(page, hub, new ReportDesk(days), "&period=year&from=2025-01-01&by=day", "lang=en&theme=dark");
    await expect(page.getByRole("img", { name: /Alarms per day/ })).toBeVisible();
    await expect(page.getByRole("region", { name: "Cases by day" }).getByRole("row")).toHaveCount(367);
    const over = await page.evaluate(() => {
      const body = document.querySelector(".page-body")!;
      return body.scrollWidth - body.clientWidth + document.documentElement.scrollWidth - innerWidth;
    });
    expect(over).toBe(0);
    // A year's rows are alike: a month of them is looked at.
    await page.locator("tbody tr:nth-child(n + 32)").evaluateAll((rows) => rows.forEach((row) => row.remove()));
    expect(await violations(page)).toEqual([]);
  });
});
