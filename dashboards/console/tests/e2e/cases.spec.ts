/** The closed loop at the desk: list, detail, every move, by mouse and by keyboard, in both languages. */

import type { Page } from "@playwright/test";
import { USERS, type MockUser } from "../mock/cases";
import type { MockHub } from "../mock/server";
import { expect, openWithoutMap, test, violations, withoutMap } from "./hub";
import { heldBack } from "./page";

const rows = (page: Page) => page.locator("[data-case]");
const detail = (page: Page) => page.getByRole("article");
const steps = (page: Page) => detail(page).getByRole("list", { name: /七步闭环|The seven steps/ });

const as = (name: string): MockUser => USERS[name] as MockUser;

/** Opens the console in the room of cases, as somebody. */
async function openCases(page: Page, hub: MockHub, who: string, query = "?lang=zh&theme=light"): Promise<void> {
  hub.user = as(who);
  await openWithoutMap(page, hub, query);
  await page.keyboard.press("c");
  await expect(rows(page)).toHaveCount(6);
}

/** A move made by somebody else, at another desk. */
function elsewhere(hub: MockHub, id: number, kind: Parameters<MockHub["desk"]["make"]>[1], who: string, body = {}): void {
  hub.desk.make(id, kind, { version: hub.desk.find(id).version, ...body }, as(who));
}

test("lists the overdue first, narrows by turn, lateness, stage and severity, in both languages", async ({ page, hub }) => {
  await openCases(page, hub, "chen");
  await expect(rows(page).first()).toContainText("虹桥路4号井");
  await expect(rows(page).first()).toContainText("超时");
  await expect(rows(page).nth(2)).toContainText("待派遣");
  await page.getByRole("button", { name: /^待我办/ }).click();
  await expect(rows(page)).toHaveCount(1);
  await page.getByRole("button", { name: /^待我办/ }).click();
  await page.getByRole("button", { name: /^超时 ?2/ }).click();
  await expect(rows(page)).toHaveCount(2);
  await page.getByRole("button", { name: /^超时 ?2/ }).click();
  await page.getByLabel("阶段").selectOption("verified");
  await expect(rows(page)).toHaveText([/流速过低/]);
  await page.getByLabel("阶段").selectOption("");
  await page.keyboard.press("2");
  await expect(rows(page)).toHaveCount(2);
  await page.keyboard.press("Escape");
  await page.keyboard.press("l");
  await expect(page.getByRole("button", { name: /^My turn/ })).toBeVisible();
  await expect(rows(page).first()).toContainText("over");
  await page.getByRole("searchbox").fill("#6");
  await expect(rows(page)).toHaveText([/Slow flow/]);
});

test("a dispatcher sends the suggested unit and a person of it", async ({ page, hub }) => {
  await openCases(page, hub, "chen");
  await page.locator("[data-case='1']").click();
  await expect(steps(page).locator("[aria-current=step]")).toContainText("派遣");
  await expect(detail(page)).toContainText("传感器尚不同意结案");
  await detail(page).getByRole("button", { name: "派遣" }).click();
  const form = page.getByRole("form", { name: "派遣" });
  await expect(form.getByLabel("班组")).toHaveValue("drainage-1");
  await form.getByLabel("人员").selectOption("li");
  await form.getByPlaceholder("备注(可不填)").fill("带抽水泵");
  await form.getByRole("button", { name: /^派遣/ }).click();
  await expect(steps(page).locator("[aria-current=step]")).toContainText("处理");
  await expect(detail(page)).toContainText("派遣给 排水养护一班 li");
  await expect(detail(page)).toContainText("带抽水泵");
  await expect(detail(page).locator(".timers")).toContainText(/余 [45] 分钟/);
  expect(hub.desk.made.at(-1)).toMatchObject({ id: 1, kind: "dispatch", by: "chen", body: { unit: "drainage-1", person: "li" } });
});

test("a recall needs its reason", async ({ page, hub }) => {
  await openCases(page, hub, "chen");
  await page.locator("[data-case='3']").click();
  await detail(page).getByRole("button", { name: "收回" }).click();
  const form = page.getByRole("form", { name: "收回" });
  await expect(form.getByLabel("原因(必填)")).toBeFocused();
  await expect(form.getByRole("button", { name: "收回" })).toBeDisabled();
  await form.getByLabel("原因(必填)").fill("改派水闸班");
  await page.keyboard.press("Enter");
  await expect(detail(page)).toContainText("改派水闸班");
  await expect(detail(page).getByRole("button", { name: "派遣" })).toBeVisible();
});

test("the one who is late at the desk is shown what changed, keeps the words, and may send again", async ({ page, hub }) => {
  await openCases(page, hub, "zhao");
  await page.locator("[data-case='6']").click();
  await detail(page).getByRole("button", { name: "不通过" }).click();
  const form = page.getByRole("form", { name: "不通过" });
  await form.getByLabel("原因(必填)").fill("仍有淤泥");
  hub.mute = true;
  hub.desk.attach(6, 107, as("wang"));
  await form.getByRole("button", { name: "不通过" }).click();
  await expect(form.getByRole("alert")).toContainText("案卷刚刚被他人改动");
  await expect(form.getByRole("alert")).toContainText("wang: 并入告警 107");
  await expect(form.getByLabel("原因(必填)")).toHaveValue("仍有淤泥");
  await form.getByRole("button", { name: "不通过" }).click();
  await expect(form).toBeHidden();
  expect(hub.desk.find(6).stage).toBe("opened");
});

test("somebody else's change while a form is open is told before anything is sent", async ({ page, hub }) => {
  await openCases(page, hub, "chen");
  await page.locator("[data-case='1']").click();
  await detail(page).getByRole("button", { name: "派遣" }).click();
  elsewhere(hub, 1, "dispatch", "admin", { unit: "gates" });
  const form = page.getByRole("form", { name: "派遣" });
  await expect(form.getByRole("alert").first()).toContainText("admin: 派遣给 水闸班");
  await expect(form).toContainText("此步骤已不可用");
  await expect(form.getByRole("button", { name: /^派遣/ })).toBeDisabled();
});

test("an answer that was lost is found in the log, not sent twice", async ({ page, hub }) => {
  await openCases(page, hub, "chen");
  await page.locator("[data-case='1']").click();
  await detail(page).getByRole("button", { name: "派遣" }).click();
  hub.fault = "after";
  await page.getByRole("form").getByRole("button", { name: /^派遣/ }).click();
  await expect(page.getByRole("form", { name: "派遣" })).toBeHidden();
  expect(hub.desk.made.filter(({ id, kind }) => id === 1 && kind === "dispatch")).toHaveLength(1);
});

test("closing waits for the sensor, or for a site check with its reason", async ({ page, hub }) => {
  await openCases(page, hub, "zhao", "?lang=en&theme=dark");
  await page.locator("[data-case='1']").click();
  await detail(page).getByRole("button", { name: "Close", exact: true }).click();
  const form = page.getByRole("form", { name: "Close" });
  await expect(form).toContainText("Still in alarm: now 2.31, must be within 2.02 m");
  await expect(form.getByRole("button", { name: "Close", exact: true })).toBeDisabled();
  await form.getByLabel(/close on a site check/).check();
  await form.getByLabel("Grounds of the site check (required)").fill("Gauge torn off, manhole dry");
  await form.getByRole("button", { name: "Close", exact: true }).click();
  await expect(detail(page)).toContainText("Site check by zhao: Gauge torn off, manhole dry");
  await expect(rows(page)).toHaveCount(5);

  await page.locator("[data-case='6']").click();
  await detail(page).getByRole("button", { name: "Close", exact: true }).click();
  await expect(page.getByRole("form", { name: "Close" })).toContainText("the sensor agrees");
  await page.keyboard.press("Enter");
  await expect(detail(page)).toContainText("On the sensor's word");
  await expect(detail(page)).toContainText("Fixed on time");
});

test("the hub's answer about one case leaves alone the form of the next", async ({ page, hub }) => {
  await openCases(page, hub, "chen");
  const answer = await heldBack(page, /\/cases\/1\/dispatch$/, "POST");
  await page.locator("[data-case='1']").click();
  await detail(page).getByRole("button", { name: "派遣" }).click();
  await page.getByRole("form").getByRole("button", { name: /^派遣/ }).click();
  await page.locator("[data-case='3']").click();
  await detail(page).getByRole("button", { name: "收回" }).click();
  const form = page.getByRole("form", { name: "收回" });
  await form.getByLabel("原因(必填)").fill("改派水闸班");
  answer();
  await expect(page.locator("[data-case='1']")).toContainText("待接单");
  await expect(form.getByLabel("原因(必填)")).toHaveValue("改派水闸班");
  await expect(form.getByRole("button", { name: "收回" })).toBeEnabled();
});

test("a closed case is found again and reopened as another", async ({ page, hub }) => {
  await openCases(page, hub, "admin");
  elsewhere(hub, 6, "close", "zhao");
  await expect(rows(page)).toHaveCount(5);
  await page.getByLabel("阶段").selectOption("closed");
  await rows(page).first().click();
  await detail(page).getByRole("button", { name: "重新立案" }).click();
  await page.getByRole("form").getByLabel("原因(必填)").fill("又堵了");
  await page.keyboard.press("Enter");
  await expect(detail(page)).toContainText("由案卷 6 重新立案");
  await expect(rows(page)).toHaveCount(6);
});

test("the one who handled does not verify", async ({ page, hub }) => {
  await openCases(page, hub, "zhao");
  await page.locator("[data-case='5']").click();
  await detail(page).getByRole("button", { name: "核查通过" }).click();
  hub.desk.cases.set(5, { ...hub.desk.find(5), handler: "zhao" });
  await page.getByRole("form").getByRole("button", { name: "核查通过" }).click();
  await expect(detail(page).getByRole("alert").first()).toContainText("处理人不能核查自己的案卷");
});

test("the whole loop by keyboard alone, each by the one whose turn it is", async ({ page, hub }) => {
  const turn = async (who: string, keys: string[]): Promise<void> => {
    await openCases(page, hub, who);
    await page.keyboard.press("/");
    await page.keyboard.type("#1");
    await expect(rows(page)).toHaveCount(1);
    await page.keyboard.press("Enter");
    await expect(rows(page).first()).toHaveAttribute("aria-current", "true");
    for (const key of keys) await press(page, key);
    await page.keyboard.press("Escape");
  };
  const press = async (on: Page, key: string): Promise<void> => {
    if (key.startsWith("=")) return on.keyboard.type(key.slice(1));
    await on.keyboard.press(key);
    if (key === "a") await expect(on.getByRole("form")).toBeVisible();
    if (key.endsWith("Enter")) await expect(on.getByRole("form")).toBeHidden();
  };
  await turn("chen", ["a", "Tab", "Tab", "Enter"]);
  await turn("li", ["a", "Enter", "a", "=水已退", "Control+Enter", "a", "Enter"]);
  // What the field does is written down first and sent after.
  await expect.poll(() => hub.desk.find(1).stage).toBe("reported");
  const alert = hub.town.alerts.find(({ id }) => id === 101);
  if (alert) hub.push({ ...alert, version: 2, active: false, value: 1.2 });
  await turn("zhao", ["a", "Enter", "a", "Enter"]);
  expect(hub.desk.made.filter(({ id }) => id === 1).map(({ kind, by }) => `${kind} ${by}`)).toEqual([
    "dispatch chen", "accept li", "handle li", "report li", "verify zhao", "close zhao",
  ]);
  expect(hub.desk.find(1).stage).toBe("closed");
});

test("an alert opens its case, leads to it and back", async ({ page, hub }) => {
  hub.user = as("wang");
  await openWithoutMap(page, hub);
  await page.locator("[data-alert='106']").click();
  await page.getByRole("article").getByRole("button", { name: "立案" }).click();
  await expect(detail(page)).toContainText("案卷 7 · 通济桥堰 · 待派遣");
  await detail(page).getByRole("button", { name: /闸门电机故障/ }).click();
  await expect(page.getByRole("article", { name: "详情" })).toContainText("通济桥堰");
  await page.getByRole("button", { name: /^案卷 7 · 待派遣/ }).click();
  await expect(detail(page)).toContainText("主告警");
});

test("the wall shows what is overdue and follows the feed", async ({ page, hub }) => {
  await page.setViewportSize({ width: 1920, height: 1080 });
  hub.user = as("chen");
  await withoutMap(page);
  await page.goto(`${hub.url}/?lang=zh&theme=light&wall=overdue`);
  await expect(page.locator("[data-overdue]")).toHaveCount(2);
  await expect(page.locator("[data-overdue]").first()).toContainText("虹桥路4号井");
  elsewhere(hub, 4, "recall", "chen", { reason: "改派" });
  await expect(page.locator("[data-overdue]")).toHaveCount(1);
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await expect(page.locator("[data-alert]").first()).toBeVisible();
});

for (const [theme, language] of [["light", "zh"], ["dark", "en"]] as const) {
  test(`has no accessibility violation with a form open, ${theme} ${language}`, async ({ page, hub }) => {
    await openCases(page, hub, "admin", `?lang=${language}&theme=${theme}`);
    await page.locator("[data-case='2']").click();
    await expect(detail(page).locator(".timers")).toBeVisible();
    expect(await violations(page)).toEqual([]);
    await page.locator("[data-case='1']").click();
    for (const kind of [/^(派遣|Dispatch)/, /^(结案|Close)$/]) {
      await detail(page).locator(".moves").getByRole("button", { name: kind }).click();
      await expect(page.getByRole("form")).toBeVisible();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press("Escape");
    }
  });
}
