/** Stories of users, sessions, tokens, wall links, keys, the audit log, zones and imports. */

import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { AccountDesk } from "../mock/accounts";
import { USERS } from "../mock/cases";
import type { MockHub } from "../mock/server";
import { expect, test, turnTo, violations, withoutMap } from "./hub";
import { heldBack } from "./page";

async function go(page: Page, hub: MockHub, query: string, lang = "zh", theme = "light"): Promise<void> {
  await withoutMap(page);
  await page.goto(`${hub.url}/?page=${query}&lang=${lang}&theme=${theme}`);
  await expect(page.locator("#page-title")).toBeVisible();
}

const kept = (page: Page) => page.getByRole("button", { name: "已保存,关闭" });

test("a user is made, and its password is shown once and not closed by accident", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "users");
  await page.getByRole("button", { name: "新建用户" }).click();
  const name = page.getByLabel("用户名");
  await name.fill("李 四");
  await page.getByRole("button", { name: "建立" }).click();
  await expect(page.getByText("用户名只能有字母")).toBeVisible();
  expect(desk.deeds).toEqual([]);
  // A name that is there already: what was typed stays.
  await name.fill("li");
  await page.getByRole("radio", { name: /值班员/ }).check();
  await page.getByRole("radio", { name: "只限所选片区" }).check();
  await page.getByRole("checkbox", { name: /西栅/ }).check();
  await page.getByRole("button", { name: "建立" }).click();
  await expect(page.getByRole("alert")).toHaveText("已有同名的一项。");
  await expect(name).toHaveValue("li");
  await name.fill("lisi");
  await page.getByRole("button", { name: "建立" }).click();
  await expect(page.locator("pre.code")).toHaveText("one-time-pass");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await expect(page.locator("pre.code")).toBeVisible();
  await kept(page).click();
  await expect(page.getByRole("row", { name: /lisi/ })).toContainText("值班员");
  await expect(page.getByRole("row", { name: /lisi/ })).toContainText("西栅");
  await expect(page.getByText("one-time-pass")).toHaveCount(0);
  expect(desk.users.at(-1)).toMatchObject({ name: "lisi", role: "operator", zones: ["west"] });
});

test("a user is changed, locked and deleted; one's own account is another's to change", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "users");
  await page.getByRole("button", { name: "修改用户 li" }).click();
  await page.getByRole("radio", { name: /监督员/ }).check();
  await page.getByRole("checkbox", { name: /停用/ }).check();
  await page.getByRole("button", { name: "保存" }).click();
  await expect(page.getByRole("row", { name: /^li / })).toContainText("已停用");
  expect(desk.users[1]).toMatchObject({ role: "supervisor", disabled: true, zones: ["west"] });
  await page.getByRole("button", { name: "修改用户 li" }).click();
  await page.getByRole("button", { name: "删除用户" }).click();
  await expect(page.getByRole("dialog")).toContainText("删除用户 li?");
  await page.getByRole("button", { name: "删除", exact: true }).click();
  await expect(page.getByText("已删除:li")).toBeVisible();
  await expect(page.getByRole("row", { name: /^li / })).toHaveCount(0);
  await page.getByRole("button", { name: "修改用户 admin" }).click();
  await expect(page.getByRole("dialog")).toContainText("这是您自己的账号");
  await expect(page.getByRole("dialog").getByRole("radio", { name: /管理员/ })).toBeDisabled();
  await expect(page.getByRole("button", { name: "删除用户" })).toHaveCount(0);
});

test("the last administrator stays, in words", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  desk.users[0] = { ...desk.users[0]!, name: "boss" };
  await go(page, hub, "users", "en");
  await page.getByRole("button", { name: "Change user boss" }).click();
  await page.getByRole("radio", { name: /Viewer/ }).check();
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("alert")).toContainText("One administrator of the whole town must remain");
  await expect(page.getByRole("radio", { name: /Viewer/ })).toBeChecked();
});

test("sessions: one's own, everybody's, ended after a question", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "access");
  await expect(page.getByRole("row", { name: /Edge · Windows/ })).toContainText("当前");
  await expect(page.getByRole("row", { name: /Android/ })).toHaveCount(0);
  await page.getByLabel("范围").selectOption("所有人");
  await expect(page).toHaveURL(/of=all/);
  await page.getByRole("row", { name: /Android/ }).getByRole("button").click();
  await expect(page.getByRole("dialog")).toContainText("li 在「Chrome · Android」上的登录立即失效");
  await page.getByRole("dialog").getByRole("button", { name: "结束" }).click();
  await expect(page.getByRole("row", { name: /Android/ })).toHaveCount(0);
  expect(desk.deeds).toEqual(["DELETE /sessions/cc"]);
  await page.goBack();
  await expect(page.getByLabel("范围")).toHaveValue("");
});

test("a token is made with few rights, shown once, and revoked", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "access&part=tokens");
  await expect(page.getByRole("row", { name: /grafana/ })).toBeVisible();
  await expect(page.getByText("wall:")).toHaveCount(0);
  await page.getByRole("button", { name: "新建令牌" }).click();
  await page.getByLabel("名称(用途)").fill("报表");
  await page.getByLabel("有效期").selectOption("其他……");
  await expect(page.getByRole("button", { name: "生成" })).toBeDisabled();
  await page.getByLabel("天数(1 至 3650)").fill("7");
  await page.getByRole("radio", { name: "只限所选权限" }).check();
  // A secret on its way is told once: nothing closes the dialog before it is here.
  const answer = await heldBack(page, /\/api\/v1\/tokens$/, "POST");
  await page.getByRole("button", { name: "生成" }).click();
  await expect(page.getByRole("button", { name: "取消" })).toBeDisabled();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  answer();
  await expect(page.locator("pre.code").first()).toHaveText("tok-secret-once");
  await kept(page).click();
  expect(desk.tokens.at(-1)).toMatchObject({ label: "报表", scope: ["view"] });
  await page.getByRole("button", { name: "吊销 报表" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "吊销" }).click();
  await expect(page.getByText("已吊销:报表")).toBeVisible();
});

test("a wall's link is shown with its end, and the page sees the screen come in", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await page.clock.install();
  await go(page, hub, "access&part=walls");
  await expect(page.getByRole("row", { name: /值班室/ })).toBeVisible();
  await page.getByLabel("大屏名称").fill("东墙");
  await page.getByRole("button", { name: "生成链接" }).click();
  await expect(page.locator("pre.code")).toHaveText(`${hub.url}/wall/join#c0de`);
  await expect(page.getByText(/前有效\(还有 1[45] 分/)).toBeVisible();
  desk.tokens.push({ id: 7, user: "admin", label: "wall: 东墙", scope: ["view"], created_at: new Date().toISOString(), ends_at: null, used_at: null });
  await page.clock.fastForward(5_100);
  await expect(page.getByText("大屏「东墙」已接入。")).toBeVisible();
  await expect(page.locator("pre.code")).toHaveCount(0);
});

test("an enrolment key is made and revoked; who may not is not offered it", async ({ page, hub }) => {
  new AccountDesk(hub);
  await go(page, hub, "access&part=enrolments");
  await page.getByRole("button", { name: "新建密钥" }).click();
  await page.getByLabel("用途").fill("东栅");
  await page.getByLabel("有效期(小时)").fill("9999");
  await expect(page.getByRole("button", { name: "生成" })).toBeDisabled();
  await page.getByLabel("有效期(小时)").fill("48");
  await page.getByRole("button", { name: "生成" }).click();
  await expect(page.locator("pre.code").first()).toHaveText("key-once");
  await kept(page).click();
  await page.getByRole("button", { name: /吊销 4 东栅/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "吊销" }).click();
  await expect(page.getByRole("row", { name: /东栅/ })).toContainText("已吊销");
  hub.user = USERS["wang"]!;
  await go(page, hub, "access&part=enrolments");
  await expect(page.getByRole("button", { name: "会话" })).toHaveAttribute("aria-pressed", "true");
  await expect(page.getByRole("button", { name: "接入密钥" })).toHaveCount(0);
  await expect(page.getByLabel("范围")).toHaveCount(0);
});

test("the audit log is paged and filtered by its address, and a hole in it is told", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "audit");
  await expect(page.locator("tbody tr")).toHaveCount(100);
  await expect(page.locator("tbody tr").first()).toContainText("130");
  await expect(page.getByRole("row", { name: /^129 / })).toContainText("role: viewer → handler");
  await page.getByRole("button", { name: "更早" }).click();
  await expect(page.locator("tbody tr")).toHaveCount(30);
  await expect(page.getByRole("button", { name: "更早" })).toHaveCount(0);
  await page.goBack();
  await expect(page.locator("tbody tr")).toHaveCount(100);
  await page.getByLabel("操作者").fill("li");
  await page.getByLabel("类别").selectOption("用户");
  await expect(page).toHaveURL(/actor=li.*thing=user|thing=user.*actor=li/);
  await expect(page.locator("tbody tr").first()).toContainText("用户 · 修改");
  await expect(page.locator("tbody tr")).toHaveCount(22);
  await expect(page.getByRole("link", { name: "导出(JSONL)" })).toHaveAttribute("href", "/api/v1/audit/export");
  desk.entries = desk.entries.filter(({ seq }) => seq < 120 || seq > 122);
  // The filtered page has holes too; while the whole one is on its way they are no holes of the log.
  const answer = await heldBack(page, /\/api\/v1\/audit/);
  await page.getByRole("button", { name: "清除" }).click();
  await expect(page.getByLabel("操作者")).toHaveValue("");
  await expect(page.getByRole("alert")).toHaveCount(0);
  answer();
  await expect(page.getByRole("alert")).toContainText("第 119 条之后缺少 3 条");
});

test("a table is checked, the refused rows are told and taken home, the rest is imported", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "import");
  const rows = Array.from({ length: 10_000 }, (_, n) => `A-${n},manhole,120.48,30.74,${n === 4 ? "bad" : ""}`);
  const buffer = Buffer.from(["id,kind,lon,lat,zone", ...rows].join("\n"));
  await page.locator("input[type=file]").setInputFiles({ name: "a.csv", mimeType: "text/csv", buffer });
  await expect(page.getByText(/a\.csv · CSV · .* · 10000 行/)).toBeVisible();
  const check = page.getByRole("button", { name: "检查", exact: true });
  await expect(check).toBeDisabled();
  await page.getByLabel("坐标系").selectOption("GCJ-02(高德、腾讯地图)");
  await expect(page.getByRole("alert")).toContainText("不能导入");
  await expect(check).toBeDisabled();
  await page.getByLabel("坐标系").selectOption("WGS-84(EPSG:4326)");
  await check.click();
  await expect(page.getByText("1 行不合格:整个文件不会导入")).toBeVisible();
  await expect(page.locator("tbody tr")).toHaveCount(1);
  await expect(page.locator("tbody tr")).toContainText("没有片区「bad」:请先导入片区");
  await expect(page.locator("tbody tr").locator("td").first()).toHaveText("5");
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "下载不合格的行" }).click();
  expect(readFileSync(await (await saved).path(), "utf8")).toContain("5,没有片区「bad」:请先导入片区,A-4,manhole,120.48,30.74,bad");
  await page.getByRole("button", { name: "去掉 1 行,检查其余" }).click();
  await expect(page.getByText("9999 行全部合格")).toBeVisible();
  await expect(page.locator("tbody tr")).toHaveCount(100);
  await page.getByRole("button", { name: "导入 9999 行" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "导入 9999 行" }).click();
  await expect(page.getByText("已导入:新增 9999")).toBeVisible();
  expect(desk.imports.map(({ path, dry }) => `${path} ${dry}`)).toEqual(["/assets/import true", "/assets/import true", "/assets/import false"]);
  expect(desk.imports.at(-1)?.text).not.toContain("bad");
});

test("new devices' secrets are taken home before they are cleared; a file too large is not sent", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "import&kind=devices", "en");
  await page.getByRole("button", { name: "Paste text" }).click();
  await page.getByLabel("Text", { exact: true }).fill("id,profile\nd-1,wz-mh1\nd-2,wz-mh1");
  await page.getByLabel("Text", { exact: true }).blur();
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await page.getByRole("button", { name: "Import 2 rows" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Import 2 rows" }).click();
  await expect(page.getByRole("row", { name: /d-1/ })).toContainText("secret-of-d-1");
  await page.getByRole("button", { name: "Import another file" }).click();
  await expect(page.getByRole("dialog")).toContainText("were not downloaded");
  await page.getByRole("button", { name: "Cancel" }).click();
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download the secrets (CSV)" }).click();
  expect(readFileSync(await (await saved).path(), "utf8")).toBe("id,secret\r\nd-1,secret-of-d-1\r\nd-2,secret-of-d-2\r\n");
  await page.getByRole("button", { name: "Import another file" }).click();
  await expect(page.getByText("secret-of-d-1")).toHaveCount(0);
  const sent = desk.imports.length;
  // Made in the page: so much takes half a minute through the browser's wire.
  await page.locator("input[type=file]").evaluate((input: HTMLInputElement) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(33 * 1024 * 1024)], "big.csv", { type: "text/csv" }));
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  await expect(page.getByRole("alert")).toContainText("the hub takes 32.0 MB");
  expect(desk.imports).toHaveLength(sent);
});

test("zones are listed with what stands in them, and imported after a look", async ({ page, hub }) => {
  const desk = new AccountDesk(hub);
  await go(page, hub, "zones");
  await expect(page.getByRole("row", { name: /西栅/ })).toContainText("km²");
  await page.getByRole("button", { name: "导入片区" }).click();
  const feature = { type: "Feature", id: "east", properties: { name: "东栅" }, geometry: { type: "Polygon", coordinates: [[[120.49, 30.74], [120.5, 30.74], [120.5, 30.75], [120.49, 30.74]]] } };
  const text = JSON.stringify({ type: "FeatureCollection", crs: { properties: { name: "EPSG:4490" } }, features: [feature] });
  await page.locator("input[type=file]").setInputFiles({ name: "z.geojson", mimeType: "application/geo+json", buffer: Buffer.from(text) });
  await expect(page.getByRole("list", { name: "将要导入的片区" })).toContainText("东栅 east 新");
  await expect(page.getByLabel("坐标系")).toBeDisabled();
  await page.getByRole("button", { name: "检查", exact: true }).click();
  await page.getByRole("button", { name: "导入 1 行" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "导入 1 行" }).click();
  await expect(page.getByText("已导入:新增 1")).toBeVisible();
  expect(desk.imports.map(({ path, dry }) => `${path} ${dry}`)).toEqual(["/zones/import true", "/zones/import false"]);
  hub.user = USERS["wang"]!;
  await go(page, hub, "zones&import=1");
  await expect(page.getByRole("row", { name: /西栅/ })).toBeVisible();
  await expect(page.getByRole("button", { name: "导入片区" })).toHaveCount(0);
  await expect(page.locator("input[type=file]")).toHaveCount(0);
});

for (const [theme, width, height] of [["light", 1100, 680], ["dark", 390, 844]] as const) {
  test(`no page has a barrier or is wider than the screen, ${theme}, ${width}`, async ({ page, hub }) => {
    new AccountDesk(hub);
    await page.setViewportSize({ width, height });
    await go(page, hub, "users", "en", theme);
    for (const query of ["users", "access&of=all", "access&part=tokens", "access&part=walls", "access&part=enrolments", "audit", "zones", "zones&import=1", "import"]) {
      await turnTo(page, `page=${query}`);
      expect(await violations(page), query).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth), query).toBeLessThanOrEqual(width);
    }
    await turnTo(page, "page=users");
    await page.getByRole("button", { name: "New user" }).click();
    await page.getByRole("radio", { name: "Chosen zones only" }).check();
    expect(await violations(page)).toEqual([]);
  });
}
