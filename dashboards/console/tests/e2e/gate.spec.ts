/** A gate is moved in two steps, by its number and a held button; to stop is one press. */

import type { Page } from "@playwright/test";
import { USERS } from "../mock/cases";
import type { MockHub } from "../mock/server";
import { expect, openWithoutMap, test, violations } from "./hub";
import { heldBack } from "./page";

const dialog = (page: Page) => page.getByRole("dialog");

/** Opens the command of a gate, and answers the number that stands on it. */
async function openGate(page: Page, hub: MockHub, query = "?lang=zh&theme=light"): Promise<string> {
  await openWithoutMap(page, hub, query);
  await page.getByRole("button", { name: /^(设施|Assets)/ }).click();
  await page.getByRole("searchbox").fill("fulan");
  await page.locator(".row").click();
  await expect(page.getByRole("button", { name: /远程控制|Remote control/ })).toBeVisible();
  await page.keyboard.press("g");
  await expect(dialog(page)).toBeVisible();
  await expect(dialog(page).getByRole("spinbutton")).toBeVisible();
  return String(hub.town.features.find(({ properties }) => properties.name.en.startsWith("Fulan"))?.properties.asset);
}

async function choose(page: Page, target: string): Promise<void> {
  await dialog(page).getByRole("spinbutton").fill(target);
  await dialog(page).getByRole("button", { name: /下一步|Next/ }).click();
}

async function hold(page: Page, ms: number): Promise<void> {
  const button = dialog(page).getByRole("button", { name: /按住|Hold/ });
  const box = await button.boundingBox();
  if (box === null) throw new Error("no button to hold");
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.clock.runFor(ms);
  await page.mouse.up();
}

test("target, number, a held button, and the way to the gate's own word", async ({ page, hub }) => {
  await page.clock.install();
  const number = await openGate(page, hub);
  await choose(page, "1.20");
  await expect(dialog(page)).toContainText("0.85 m → 1.20 m");
  const button = dialog(page).getByRole("button", { name: /按住/ });
  await expect(button).toBeDisabled();
  await dialog(page).getByLabel(`请输入编号 ${number}`).fill("SL-999");
  await expect(button).toBeDisabled();
  await dialog(page).getByLabel(`请输入编号 ${number}`).fill(number.toLowerCase());
  await expect(button).toBeEnabled();
  // A click is a slip of the hand.
  await button.click();
  expect(hub.orders.sent).toBe(0);
  await hold(page, 1_600);
  await expect(dialog(page)).toContainText("正在执行");
  expect(hub.orders.sent).toBe(1);
  hub.orders.go(1, { step: "moving", value: 1.02 });
  await page.clock.runFor(1_100);
  await expect(dialog(page)).toContainText("当前 1.02 m");
  hub.orders.go(1, { state: "reached", value: 1.2 });
  // Told by the feed, before the next look.
  await page.clock.runFor(300);
  await expect(dialog(page).getByRole("heading", { name: "已到位" })).toBeVisible();
  expect(hub.orders.sent).toBe(1);
});

test("the button is held by keyboard too", async ({ page, hub }) => {
  await page.clock.install();
  const number = await openGate(page, hub, "?lang=en&theme=dark");
  await choose(page, "1");
  await dialog(page).getByLabel(/Type its number/).fill(number);
  await dialog(page).getByRole("button", { name: /Hold/ }).focus();
  await page.keyboard.down("Space");
  await page.clock.runFor(1_600);
  await page.keyboard.up("Space");
  await expect(dialog(page)).toContainText("Under way");
  expect(hub.orders.sent).toBe(1);
});

test("the hub's refusal is told with its rule and facts", async ({ page, hub }) => {
  await openGate(page, hub);
  hub.orders.refusal = {
    text: { zh: "外河水位高于内河,非引水模式不得开闸", en: "Outside is higher than inside" },
    facts: [{ name: "gate.level_out", value: 1.58, unit: "m", age_s: 3 }],
  };
  await choose(page, "1.20");
  await expect(dialog(page).getByRole("alert")).toContainText("外河水位高于内河");
  await expect(dialog(page).getByRole("alert")).toContainText("外河水位 1.58 m · 3 秒");
});

test("a target beyond what may be is not sent", async ({ page, hub }) => {
  await openGate(page, hub);
  for (const [target, why] of [["2.5", "可设 0.00 m 至 2.00 m"], ["1.955", "须为 0.01 m 的整数倍"], ["1.90", "单次最多改变"]] as const) {
    await dialog(page).getByRole("spinbutton").fill(target);
    await expect(dialog(page)).toContainText(why);
    await expect(dialog(page).getByRole("button", { name: "下一步" })).toBeDisabled();
  }
});

test("a large step waits for another person, who checks and executes it", async ({ page, hub }) => {
  await page.clock.install();
  const number = await openGate(page, hub);
  await choose(page, "1.60");
  await expect(dialog(page)).toContainText("等待另一人复核");
  await expect(dialog(page)).toContainText("须由 admin 以外的人复核执行");
  await expect(dialog(page).getByRole("button", { name: /按住/ })).toBeHidden();
  hub.user = USERS.zhao!;
  await openGateOfOther(page, hub);
  await dialog(page).getByLabel(/请输入编号/).fill(number);
  await hold(page, 1_600);
  await expect(dialog(page)).toContainText("正在执行");
  expect(hub.orders.find(1)).toMatchObject({ selected_by: "admin", confirmed_by: "zhao" });
});

async function openGateOfOther(page: Page, hub: MockHub): Promise<void> {
  await page.goto(`${hub.url}/?lang=zh&theme=light`);
  await page.getByRole("button", { name: /^设施/ }).click();
  await page.getByRole("searchbox").fill("fulan");
  await page.locator(".row").click();
  await page.getByRole("button", { name: /正在执行:调节开度/ }).click();
  await page.clock.runFor(1_100);
  await expect(dialog(page).getByLabel(/请输入编号/)).toBeVisible();
}

test("no order goes out on old data, but the stop does", async ({ page, hub }) => {
  await page.clock.install();
  const number = await openGate(page, hub);
  await choose(page, "1.20");
  await dialog(page).getByLabel(/请输入编号/).fill(number);
  hub.beating = false;
  await page.clock.fastForward(31_000);
  await expect(dialog(page)).toContainText("数据已中断,不能下达指令");
  await expect(dialog(page).getByRole("button", { name: /按住/ })).toBeDisabled();
  await dialog(page).getByRole("button", { name: "急停" }).click();
  await expect.poll(() => hub.orders.commands.at(-1)?.command).toBe("stop");
  expect(hub.orders.sent).toBe(0);
});

test("closing before the second step gives the gate back", async ({ page, hub }) => {
  await openGate(page, hub);
  await choose(page, "1.20");
  await expect(dialog(page)).toContainText("第二步");
  await page.keyboard.press("Escape");
  await expect(dialog(page)).toBeHidden();
  await expect.poll(() => hub.orders.find(1).state).toBe("cancelled");
});

test("an answer that comes after its dialog was closed gives the gate back, and does not stand at another gate", async ({ page, hub }) => {
  await openGate(page, hub);
  const answer = await heldBack(page, /\/api\/v1\/commands$/, "POST");
  await choose(page, "1.20");
  await page.keyboard.press("Escape");
  await expect(dialog(page)).toBeHidden();
  await page.getByRole("searchbox").fill("wjqz");
  await expect(page.locator(".row .name")).toHaveText(["望津桥闸"]);
  await page.locator(".row").click();
  await expect(page.getByRole("article").getByRole("heading")).toHaveText("望津桥闸");
  await expect(page.getByRole("button", { name: "远程控制" })).toBeVisible();
  await page.keyboard.press("g");
  await expect(dialog(page).getByRole("spinbutton")).toBeVisible();
  answer();
  await expect.poll(() => hub.orders.commands.map(({ state }) => state)).toEqual(["cancelled"]);
  await expect(dialog(page).getByRole("heading", { level: 2 })).toContainText("望津桥闸");
  await expect(dialog(page).getByRole("spinbutton")).toBeVisible();
});

test("somebody without the right has no button for it", async ({ page, hub }) => {
  hub.user = USERS.chen!;
  await openWithoutMap(page, hub);
  await page.getByRole("button", { name: /^设施/ }).click();
  await page.getByRole("searchbox").fill("fulan");
  await page.locator(".row").click();
  await expect(page.getByRole("article").locator("table")).toBeVisible();
  await expect(page.getByRole("button", { name: "远程控制" })).toBeHidden();
});

for (const [theme, language] of [["light", "zh"], ["dark", "en"]] as const) {
  test(`has no accessibility violation, ${theme} ${language}`, async ({ page, hub }) => {
    await openGate(page, hub, `?lang=${language}&theme=${theme}`);
    expect(await violations(page)).toEqual([]);
    await choose(page, "1.20");
    await expect(dialog(page).getByRole("textbox")).toBeVisible();
    expect(await violations(page)).toEqual([]);
    hub.orders.go(1, { state: "fault", cause: "abortion-by-trip", sent_at: new Date().toISOString(), facts: [] });
    await expect(dialog(page).getByRole("alert")).toBeVisible();
    expect(await violations(page)).toEqual([]);
  });
}
