/** A storm's alerts: many acknowledged at once, put aside and taken back, and what each tells of itself. */

import type { Page } from "@playwright/test";
import { USERS } from "../mock/cases";
import { expect, openWithoutMap, test, violations } from "./hub";
import { heldBack } from "./page";

const rows = (page: Page) => page.locator("[data-alert]");
const row = (page: Page, id: number) => page.locator(`[data-alert='${id}']`);

test("all that is shown is acknowledged at once, with one note; what others took is told", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  await page.getByRole("button", { name: "多选" }).click();
  const bar = page.getByRole("form", { name: "多选" });
  await bar.getByRole("button", { name: "全选 9 条" }).click();
  const taken = hub.town.alerts.find(({ id }) => id === 107);
  if (taken) Object.assign(taken, { acknowledged_at: new Date().toISOString(), acknowledged_by: "li", version: 2 });
  await bar.getByPlaceholder("备注(可不填)").fill("暴雨,统一处理");
  await bar.getByRole("button", { name: "确认 9 条" }).click();
  await expect(bar.getByRole("status")).toHaveText("已确认 8 条,1 条已被他人确认");
  expect(hub.acknowledged).toHaveLength(8);
  expect(new Set(hub.acknowledged.map(({ note }) => note))).toEqual(new Set(["暴雨,统一处理"]));
  await expect(page.getByText("待确认", { exact: true }).locator("visible=true")).toHaveCount(1);
});

test("by keyboard: narrow to a severity, pick all, acknowledge; Escape ends it", async ({ page, hub }) => {
  await openWithoutMap(page, hub, "?lang=en&theme=dark");
  await page.keyboard.press("2");
  await expect(rows(page)).toHaveCount(4);
  await page.keyboard.press("Shift+X");
  await expect(page.getByRole("button", { name: "Acknowledge 3" })).toBeEnabled();
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await expect(page.getByRole("button", { name: "Acknowledge 2" })).toBeEnabled();
  await page.keyboard.press("a");
  await expect(page.getByText("2 acknowledged")).toBeVisible();
  expect(hub.acknowledged).toHaveLength(2);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("form", { name: "Select" })).toBeHidden();
});

test("a storm of 2 000 alerts is listed, counted and acknowledged", async ({ page, hub }) => {
  const model = hub.town.alerts[0];
  if (model === undefined) throw new Error("the storm has alerts");
  for (let id = 1000; id < 3000; id += 1) hub.town.alerts.push({ ...model, id, asset: null, asset_number: null, severity: "minor" });
  await openWithoutMap(page, hub);
  await expect(page.locator("header .counts strong").nth(2)).toHaveText("2003");
  await page.keyboard.press("Shift+X");
  await page.getByRole("button", { name: "确认 2009 条" }).click();
  await expect(page.getByRole("form", { name: "多选" }).getByRole("status")).toContainText("已确认 2009 条", { timeout: 25_000 });
  expect(hub.acknowledged).toHaveLength(2009);
  expect(hub.requests.filter((line) => line === "POST /api/v1/alerts/acknowledge")).toHaveLength(5);
});

test("an alert is shelved with its end and reason, found again, and taken back", async ({ page, hub }) => {
  hub.user = USERS.zhao!;
  await openWithoutMap(page, hub);
  await row(page, 103).click();
  await page.keyboard.press("s");
  const form = page.getByRole("form", { name: "搁置" });
  await expect(form.getByLabel("搁置原因(必填)")).toBeFocused();
  await expect(form.getByRole("button", { name: "搁置" })).toBeDisabled();
  await form.getByLabel("时长").selectOption("24h");
  await form.getByLabel("搁置原因(必填)").fill("上游泵站检修");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("alert")).toHaveText("此级别最长搁置 8 小时");
  await form.getByLabel("时长").selectOption("4h");
  await form.getByRole("button", { name: "搁置" }).click();
  const detail = page.getByRole("article");
  await expect(detail.locator("footer")).toContainText("zhao 搁置至");
  await expect(detail.locator("footer")).toContainText("上游泵站检修");
  await page.keyboard.press("Escape");
  await expect(rows(page)).toHaveCount(11);
  await page.getByRole("button", { name: "搁置 2" }).click();
  await expect(rows(page)).toHaveCount(2);
  await row(page, 103).click();
  await detail.getByLabel("恢复原因(必填)").fill("检修完毕");
  await detail.getByRole("button", { name: "提前恢复" }).click();
  await expect(page.getByRole("button", { name: "搁置 1" })).toBeVisible();
  expect(hub.town.alerts.find(({ id }) => id === 103)?.standing?.shelved).toBeNull();
});

test("the hub's answer about one alert leaves alone what is written for the next", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  const answer = await heldBack(page, /\/alerts\/101\/acknowledge$/, "POST");
  await row(page, 101).click();
  await page.keyboard.press("a");
  // Nor does it keep the next waiting.
  await row(page, 107).click();
  await page.keyboard.press("a");
  await expect(row(page, 107)).toContainText("已确认");
  expect(hub.acknowledged.map(({ id }) => id)).toEqual([107]);
  await row(page, 103).click();
  const note = page.getByRole("article").getByPlaceholder("备注(可不填)");
  await note.fill("已派人");
  answer();
  await expect(row(page, 101)).toContainText("已确认");
  await expect(page.getByRole("article").getByRole("button", { name: "确认", exact: true })).toBeEnabled();
  await expect(note).toHaveValue("已派人");
});

test("what does not ring is neither listed nor counted, and says why it does not", async ({ page, hub }) => {
  await openWithoutMap(page, hub, "?lang=en&theme=light");
  await expect(rows(page)).toHaveCount(12);
  await expect(page.locator("header .counts strong")).toHaveText(["2", "4", "3", "3"]);
  await page.getByRole("button", { name: "Suppressed 2" }).click();
  await expect(rows(page)).toHaveCount(2);
  await row(page, 122).click();
  await expect(page.getByRole("article").locator("footer")).toContainText("Explained by gateway gw-west");
  await row(page, 123).click();
  await expect(page.getByRole("article").locator("footer")).toContainText("Maintenance (4): 新华路管道清淤");
  await page.getByRole("button", { name: "Out of service 1" }).click();
  await row(page, 124).click();
  await expect(page.getByRole("article").locator("footer")).toContainText("Taken out of service by admin: 返厂维修");
});

test("a severity that moves, an alert that chatters and the first of a group say so", async ({ page, hub }) => {
  await openWithoutMap(page, hub);
  await expect(row(page, 101)).toContainText("首发");
  await expect(row(page, 107)).toContainText("抖动 ×7");
  await expect(row(page, 103)).toContainText("最高 特急");
  const pipe = hub.town.alerts.find(({ id }) => id === 109);
  if (pipe === undefined) throw new Error("no alert 109");
  hub.push({ ...pipe, version: 9, severity: "major", worst: "major", acknowledged_at: null });
  await expect(row(page, 109)).toContainText("升级");
  await expect(page.locator("header .counts strong")).toHaveText(["2", "5", "2", "3"]);
});

for (const [theme, language] of [["light", "zh"], ["dark", "en"]] as const) {
  test(`has no accessibility violation while picking and shelving, ${theme} ${language}`, async ({ page, hub }) => {
    await openWithoutMap(page, hub, `?lang=${language}&theme=${theme}`);
    await row(page, 103).click();
    await page.keyboard.press("Shift+X");
    await page.keyboard.press("s");
    await expect(page.getByRole("article").getByRole("form")).toBeVisible();
    await expect(page.getByRole("article").locator(".plot canvas")).toBeVisible();
    expect(await violations(page)).toEqual([]);
  });
}
