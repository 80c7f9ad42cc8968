/** The field crew's phone: my tasks, big buttons, photos, and a link that drops. */

import type { Page } from "@playwright/test";
import { USERS } from "../mock/cases";
import type { MockHub } from "../mock/server";
import { expect, test, violations, withoutMap } from "./hub";

test.use({ viewport: { width: 390, height: 844 } });

const tasks = (page: Page) => page.locator("[data-task]");
const detail = (page: Page) => page.getByRole("article");
const queue = (page: Page) => page.locator(".queue").first();
/** A picture of one pixel, as a phone would send it. */
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");

async function openTasks(page: Page, hub: MockHub, language = "zh", theme = "light"): Promise<void> {
  hub.user = USERS.li!;
  await withoutMap(page);
  await page.goto(`${hub.url}/?lang=${language}&theme=${theme}`);
  await expect(tasks(page).first()).toBeVisible({ timeout: 15_000 });
}

/** Everything that a thumb presses is large enough for it. */
async function smallest(page: Page, selector: string): Promise<number> {
  const heights = await page.locator(selector).evaluateAll((all) => all.map((one) => one.getBoundingClientRect().height));
  return Math.min(...heights);
}

test("a handler sees the own tasks first, with their time, a way there and one big button", async ({ page, hub }) => {
  await openTasks(page, hub);
  await expect(tasks(page)).toHaveCount(2);
  await expect(tasks(page).first()).toContainText("虹桥路4号井");
  await expect(tasks(page).first()).toContainText("超时");
  const link = tasks(page).first().getByRole("link", { name: "导航" });
  await expect(link).toHaveAttribute("href", /^geo:30\.7\d+,120\.4\d+\?q=/);
  expect(await smallest(page, "[data-task] .do > *")).toBeGreaterThanOrEqual(48);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});

test("accept, on site with a photo, report: each with one thumb", async ({ page, hub }) => {
  await openTasks(page, hub);
  await page.locator("[data-task='3']").getByRole("button", { name: "接单", exact: true }).click();
  await detail(page).getByRole("button", { name: "接单", exact: true }).click();
  await expect.poll(() => hub.desk.find(3).stage).toBe("accepted");
  await detail(page).getByRole("button", { name: "到场登记" }).click();
  await page.getByLabel("现场情况").fill("井口有异味,已通风");
  await page.locator("input[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: PNG });
  await expect(detail(page).getByAltText("照片 1")).toBeVisible();
  await detail(page).getByRole("form").getByRole("button", { name: "到场登记" }).click();
  await expect.poll(() => hub.desk.find(3).arrived_at).not.toBeNull();
  await expect(detail(page)).toContainText("井口有异味,已通风");
  await expect(detail(page).getByRole("link", { name: "照片 1" })).toBeVisible();
  await detail(page).getByRole("button", { name: "反馈完成" }).click();
  await detail(page).getByRole("form").getByRole("button", { name: "反馈完成" }).click();
  await expect.poll(() => hub.desk.find(3).stage).toBe("reported");
  await page.getByRole("button", { name: "关闭详情" }).click();
  await expect(page.locator("[data-task='3']")).toContainText("等待核查");
});

test("what is no photo is not taken", async ({ page, hub }) => {
  await openTasks(page, hub);
  await page.locator("[data-task='2']").getByRole("button", { name: "到场登记" }).click();
  await page.locator("input[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("<svg onload=alert(1)>") });
  await expect(detail(page).getByRole("alert")).toHaveText("不是 JPEG、PNG 或 WebP 照片,未添加");
  await expect(detail(page).locator(".photo")).toHaveCount(0);
});

test("moves wait while the link is down, survive the page, and go out once, in order", async ({ page, hub }) => {
  await openTasks(page, hub);
  hub.fault = "before";
  await page.locator("[data-task='3']").getByRole("button", { name: "接单", exact: true }).click();
  await detail(page).getByRole("form").getByRole("button", { name: "接单", exact: true }).click();
  await expect(queue(page)).toContainText("1 项待发送");
  await expect(queue(page)).toContainText("等待网络");
  await detail(page).getByRole("button", { name: "到场登记" }).click();
  await page.locator("input[type=file]").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: PNG });
  await expect(detail(page).getByAltText("照片 1")).toBeVisible();
  await detail(page).getByRole("form").getByRole("button", { name: "到场登记" }).click();
  await expect(queue(page)).toContainText("2 项待发送");
  await expect(queue(page)).toContainText("1 张照片");
  expect(hub.desk.find(3).stage).toBe("dispatched");
  await page.reload();
  await expect(queue(page)).toContainText("2 项待发送");
  await expect(page.locator("[data-task='3']").getByRole("button", { name: "反馈完成" })).toBeVisible();
  hub.fault = "none";
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await expect(queue(page)).toBeHidden();
  expect(hub.desk.made.filter(({ id, by }) => id === 3 && by === "li").map(({ kind }) => kind)).toEqual(["accept", "handle"]);
  expect(hub.desk.photos.size).toBe(1);
});

test("a move whose answer was lost is recognised as our own, not made twice and not refused", async ({ page, hub }) => {
  await openTasks(page, hub);
  hub.fault = "after";
  await page.locator("[data-task='3']").getByRole("button", { name: "接单", exact: true }).click();
  await detail(page).getByRole("form").getByRole("button", { name: "接单", exact: true }).click();
  await expect.poll(() => hub.desk.find(3).stage).toBe("accepted");
  hub.fault = "none";
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await expect(queue(page)).toBeHidden();
  expect(hub.desk.made.filter(({ id, kind }) => id === 3 && kind === "accept")).toHaveLength(1);
});

test("a move that somebody else made impossible says so, and waits for a word", async ({ page, hub }) => {
  await openTasks(page, hub, "en", "dark");
  hub.fault = "before";
  await page.locator("[data-task='2']").getByRole("button", { name: "I am on site" }).click();
  await page.getByLabel("What you found").fill("Pump runs");
  await detail(page).getByRole("form").getByRole("button", { name: "I am on site" }).click();
  await expect(queue(page)).toContainText("1 to send");
  hub.desk.attach(2, 107, USERS.wang!);
  hub.fault = "none";
  await page.evaluate(() => dispatchEvent(new Event("online")));
  await expect(queue(page)).toContainText("Not accepted");
  await queue(page).getByRole("button", { name: "Send on the latest" }).click();
  await expect(queue(page)).toBeHidden();
  expect(hub.desk.made.filter(({ id, kind }) => id === 2 && kind === "handle")).toHaveLength(1);
  await expect(detail(page)).toContainText("Pump runs");
});

for (const [theme, language] of [["light", "zh"], ["dark", "en"]] as const) {
  test(`has no accessibility violation, ${theme} ${language}`, async ({ page, hub }) => {
    await openTasks(page, hub, language, theme);
    expect(await violations(page)).toEqual([]);
    await tasks(page).first().locator(".open").click();
    await expect(detail(page).locator(".timers")).toBeVisible();
    expect(await violations(page)).toEqual([]);
    hub.fault = "before";
    await page.locator(".moves .primary").click();
    await detail(page).getByRole("form").locator(".primary").click();
    await expect(queue(page)).toBeVisible();
    expect(await violations(page)).toEqual([]);
  });
}
