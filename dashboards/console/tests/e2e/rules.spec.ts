import type { Page } from "@playwright/test";
import { USERS } from "../mock/cases";
import { RuleBook } from "../mock/rules";
import type { MockHub } from "../mock/server";
import { expect, test, turnTo, violations, withoutMap } from "./hub";
import { heldBack } from "./page";

/** A page of the console over a rule book of its own; the map is never needed. */
async function openAt(page: Page, hub: MockHub, query: string, book = new RuleBook()): Promise<RuleBook> {
  hub.also(book.desk);
  await withoutMap(page);
  await page.goto(`${hub.url}/?${query}`);
  await expect(page.locator(".page-frame h2")).toBeVisible();
  return book;
}

const why = "原因(必填,会记入变更记录)";
const RULE = "page=rules&device=mh-001&metric=level&rule=high";

test("the rules of many devices are one row, and lead to a rule with its ladder and sources", async ({ page, hub }) => {
  await openAt(page, hub, "page=rules&lang=zh&theme=light", new RuleBook(2000));
  const rows = page.locator(".page-frame tbody tr");
  await expect(rows).toHaveCount(1);
  await expect(page.getByRole("heading", { name: "1 条规则,2000 台设备" })).toBeVisible();
  await expect(rows).toContainText("> 1.80 m");
  await page.getByText("2000 台设备", { exact: true }).click();
  await expect(rows.getByText("另有 1940 台,请用筛选查找")).toBeVisible();
  await page.getByLabel("设备、设施或规则").fill("mh-0007");
  await expect(page.getByText("没有符合条件的规则")).toBeVisible();
  await page.getByLabel("设备、设施或规则").fill("mh-007");
  await expect(page.getByRole("heading", { name: "1 条规则,1 台设备" })).toBeVisible();
  await expect(page).toHaveURL(/q=mh-007/);
  await page.getByRole("link", { name: "窨井水位偏高" }).click();
  await expect(page.getByRole("row", { name: /紧急/ })).toContainText("1.60 m");
  await expect(page.getByText("0.00 m – 6.00 m")).toBeVisible();
  await page.goBack();
  await expect(page.getByRole("heading", { name: "1 条规则,1 台设备" })).toBeVisible();
});

test("a limit is tried on history before it is saved, saved with its reason, and stands in the history", async ({ page, hub }) => {
  const book = await openAt(page, hub, `${RULE}&do=change&lang=zh&theme=light`);
  await page.getByLabel("紧急:触发").fill("1.5");
  await expect(page.getByRole("alert")).toContainText("恢复值 1.60 m 不能高于触发值 1.50 m");
  await expect(page.getByRole("button", { name: "保存,立即生效" })).toBeDisabled();
  await page.getByLabel("紧急:恢复").fill("1.3");
  await expect(page.getByText("还没有试算")).toBeVisible();
  await page.getByRole("button", { name: "试算", exact: true }).click();
  const result = page.getByRole("group", { name: "试算" });
  await expect(result.locator("[data-side=recorded]")).toContainText("1 次");
  await expect(result.locator("[data-side=proposed]")).toContainText("3 次");
  await expect(result.locator("[data-side=proposed]")).toContainText("多 2 次");
  await expect(result.locator("canvas")).toBeVisible();
  await expect(result.locator("details").last().locator("li")).toHaveCount(3);
  expect(book.rehearsals).toHaveLength(1);
  expect(book.rehearsals[0]).toMatchObject({ device: "mh-001", metric: "level", name: "high", set: { rungs: { major: { limit: 1.5, clear: 1.3 } } } });
  expect(book.overrides.size).toBe(0);
  await expect(page.getByText("还没有试算")).toBeHidden();
  await page.getByLabel("紧急:触发").fill("1.45");
  await expect(page.getByText("试算之后又有改动,请重新试算。")).toBeVisible();
  await page.getByRole("button", { name: "保存,立即生效" }).click();
  await expect(page.getByText("请写明原因")).toBeVisible();
  await page.getByLabel(why).fill("汛期提前告警");
  await page.getByRole("button", { name: "保存,立即生效" }).click();
  await expect(page.getByText("已保存,第 1 版,已生效。")).toBeVisible();
  await expect(page.getByRole("row", { name: /紧急/ })).toContainText("1.45 m");
  expect([...book.overrides.values()].map(({ scope, set }) => ({ scope, set }))).toEqual([{ scope: { device: "mh-001" }, set: { rungs: { major: { limit: 1.45, clear: 1.3 } } } }]);
  await page.getByRole("link", { name: "变更记录" }).click();
  await expect(page.getByRole("row", { name: /汛期提前告警/ })).toContainText("admin");
});

test("who is slower keeps what was typed and goes on from the newest version", async ({ page, hub }) => {
  const book = new RuleBook();
  const select = { metric: "level", rule: "high" };
  book.put("low-bridge", { scope: { device: "mh-001" }, select, set: { for: "2min" } }, "wei", "first");
  const answer = await heldBack(page, /\/api\/v1\/rules\/overrides$/);
  await openAt(page, hub, `${RULE}&do=change&lang=zh&theme=light`, book);
  await page.getByLabel("紧急:触发").fill("1.7");
  await page.getByLabel(why).fill("再调");
  // Until it is known that there is one already, no other is put beside it.
  await expect(page.getByRole("button", { name: "保存,立即生效" })).toBeDisabled();
  answer();
  await expect(page.getByText("此范围已有调整「low-bridge」(第 1 版,wei")).toBeVisible();
  await expect(page.getByLabel("紧急:触发")).toHaveValue("1.7");
  book.put("low-bridge", { scope: { device: "mh-001" }, select, set: { for: "5min" } }, "li", "faster");
  await page.getByRole("button", { name: "保存,立即生效" }).click();
  await expect(page.getByRole("alert")).toContainText("现在是第 2 版;您看到的是第 1 版");
  await page.getByRole("button", { name: "取最新版,保留我的改动" }).click();
  await expect(page.getByLabel("紧急:触发")).toHaveValue("1.7");
  await page.getByRole("button", { name: "保存,立即生效" }).click();
  await expect(page.getByText("已保存,第 3 版,已生效。")).toBeVisible();
  expect(book.overrides.get("low-bridge")?.set).toEqual({ for: "5min", rungs: { major: { limit: 1.7 } } });
});

test("an override is deleted only after it was named and a reason given; refusals stand in words", async ({ page, hub }) => {
  const book = new RuleBook();
  book.put("low-bridge", { scope: {}, select: { rule: "high" }, set: { for: "2min" } }, "wei", "first");
  await openAt(page, hub, "page=rules&tab=overrides&lang=zh&theme=light", book);
  await page.getByRole("button", { name: "删除 low-bridge" }).click();
  const dialog = page.getByRole("dialog", { name: "删除「low-bridge」?" });
  await expect(dialog.getByRole("button", { name: "删除" })).toBeDisabled();
  await page.keyboard.press("Escape");
  await expect(dialog).toBeHidden();
  expect(book.overrides.size).toBe(1);
  await page.getByRole("button", { name: "删除 low-bridge" }).click();
  await dialog.getByRole("textbox").fill("桥已加高");
  book.put("low-bridge", { scope: {}, select: { rule: "high" }, set: { for: "3min" } }, "li", "faster");
  await dialog.getByRole("button", { name: "删除" }).click();
  await expect(dialog.getByRole("alert")).toContainText("刚刚有人改过");
  await dialog.getByRole("button", { name: "取消" }).click();
  await expect(page.getByRole("row", { name: /low-bridge/ })).toContainText("第 2 版");
  await page.getByRole("button", { name: "修改 low-bridge" }).click();
  await page.getByLabel("触发延时:数").fill("9");
  await page.getByLabel("触发延时:单位").selectOption("d");
  await page.getByLabel(why).fill("x");
  await page.getByRole("button", { name: "保存,立即生效" }).click();
  await expect(page.getByRole("alert")).toContainText("`for` is too long");
  await expect(page.getByLabel("触发延时:数")).toHaveValue("9");
});

test("an operator looks and tries, and is offered nothing else", async ({ page, hub }) => {
  hub.user = USERS.wang as typeof hub.user;
  await openAt(page, hub, `${RULE}&lang=en&theme=dark`);
  await expect(page.getByText("changing needs an engineer")).toBeVisible();
  await page.getByRole("button", { name: "Try on stored history" }).click();
  await page.getByLabel("Major: raises").fill("2");
  await page.getByRole("button", { name: "Dry run" }).click();
  await expect(page.locator("[data-side=proposed]")).toContainText("Would raise nothing");
  await expect(page.locator("[data-side=proposed]")).toContainText("1 fewer");
  await expect(page.getByRole("button", { name: "Save, in force at once" })).toHaveCount(0);
  await page.getByRole("link", { name: "Set aside" }).click();
  await expect(page.getByText("Planning maintenance needs a supervisor or an engineer.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Plan maintenance" })).toHaveCount(0);
});

test("maintenance is planned and ended", async ({ page, hub }) => {
  const book = await openAt(page, hub, "page=rules&tab=aside&lang=zh&theme=light");
  await page.getByRole("button", { name: "安排检修" }).click();
  await page.getByRole("button", { name: "安排", exact: true }).click();
  await expect(page.getByRole("alert")).toHaveText("请填对象和原因");
  await page.getByLabel("哪一个").selectOption("xizha");
  await page.getByLabel("原因(必填)").fill("清淤");
  await page.getByRole("button", { name: "安排", exact: true }).click();
  await expect(page.getByRole("row", { name: /西栅/ })).toContainText("清淤");
  expect(book.windows[0]).toMatchObject({ zone: "xizha", reason: "清淤" });
  await page.getByRole("button", { name: "提前结束" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "提前结束" }).click();
  await expect(page.getByText("检修 1 已结束。")).toBeVisible();
  await expect(page.getByText("没有检修窗口")).toBeVisible();
});

test("profiles tell what was refused, where and why, and are read anew", async ({ page, hub }) => {
  const book = new RuleBook();
  book.refused = [{ file: "wz-mh1.toml", errors: ["wz-mh1.toml:15:2: unknown key `rang`\n 15 | rang = [0, 6]\n    | ^^^^"], since: "2026-06-02T00:00:00Z", running: "wz-mh1" }];
  await openAt(page, hub, "page=profiles&lang=zh&theme=light", book);
  await expect(page.getByText("第 15 行,第 2 列")).toBeVisible();
  await expect(page.locator("article").getByText("wz-mh1 的原版本继续运行")).toBeVisible();
  book.refused = [];
  await page.getByRole("button", { name: "重新读取" }).click();
  await expect(page.getByText("已重新读取:1 个型号生效,0 个文件未生效。")).toBeVisible();
  await expect(page.getByText("第 15 行,第 2 列")).toBeHidden();
  await page.getByRole("link", { name: "WZ-MH1 窨井监测终端" }).click();
  await expect(page.getByText("wz/{device}/up", { exact: true })).toBeVisible();
  await expect(page.getByRole("row", { name: /水深/ })).toContainText("0.00 m – 6.00 m");
  await expect(page.getByText("自带测试(2 项,全部通过)")).toBeVisible();
});

test("messages that did not arrive say why and are sent again; a channel is tried", async ({ page, hub }) => {
  const book = new RuleBook();
  book.channels = [{ name: "duty-room", kind: "dingtalk", target: "oapi.dingtalk.com", failing: true, waiting: 1, pending: 0, failed: 1, used: 2, per_minute: 20, last_error: "connection refused" }];
  book.message("duty-room", "sent", null);
  book.message("duty-room", "failed", "connection refused");
  await openAt(page, hub, "page=notifications&lang=zh&theme=light", book);
  await expect(page.getByRole("row", { name: /钉钉/ })).toContainText("发不出去");
  await expect(page.getByRole("row", { name: /已放弃 9/ })).toContainText("对方没有在听(连接被拒绝)");
  await page.getByRole("combobox", { name: /^状态/ }).selectOption("failed");
  await expect(page).toHaveURL(/state=failed/);
  // What was listed before stays until the answer is here.
  await expect(page.getByText("内容", { exact: true })).toHaveCount(1);
  await page.getByText("内容", { exact: true }).click();
  await expect(page.getByText("告警 · 子夜路4号井 · 水位接近地面")).toBeVisible();
  await page.getByRole("button", { name: "重发 2" }).click();
  await expect(page.getByText("消息 2 已送达。")).toBeVisible();
  await page.getByRole("button", { name: "测试 duty-room" }).click();
  await page.getByRole("dialog", { name: "向「duty-room」发送测试消息?" }).getByRole("button", { name: "测试" }).click();
  await expect(page.getByText("测试消息 3 已送达 duty-room。")).toBeVisible();
});

for (const [theme, size] of [["light", { width: 1100, height: 680 }], ["dark", { width: 390, height: 844 }]] as const) {
  test(`no page has barriers or runs over its side (${theme}, ${size.width})`, async ({ page, hub }) => {
    await page.setViewportSize(size);
    const book = new RuleBook();
    book.channels = [{ name: "duty-room", kind: "dingtalk", target: "oapi.dingtalk.com", failing: true, waiting: 1, pending: 0, failed: 1, used: 2, per_minute: 20, last_error: "connection refused" }];
    book.message("duty-room", "failed", "connection refused");
    book.put("low-bridge", { scope: {}, select: { rule: "high" }, set: { for: "2min" } }, "wei", "x".repeat(300));
    test.setTimeout(120_000);
    await openAt(page, hub, `page=rules&lang=en&theme=${theme}`, book);
    for (const query of ["page=rules", `${RULE}&do=change`, "page=rules&tab=overrides", "page=rules&tab=own&edit=%2B", "page=rules&tab=schedules", "page=rules&tab=aside", "page=rules&tab=history", "page=profiles", "page=profiles&id=wz-mh1", "page=notifications"]) {
      await turnTo(page, query);
      expect(await violations(page), query).toEqual([]);
      expect(await page.evaluate(() => document.querySelector(".page-body")!.scrollWidth - document.querySelector(".page-body")!.clientWidth), query).toBeLessThanOrEqual(0);
    }
  });
}
