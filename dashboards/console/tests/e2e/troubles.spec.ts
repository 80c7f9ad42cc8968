/** The hub's own troubles: told on every page at once, in words, and gone when the cause is. */

import type { Trouble } from "../../src/api/types";
import { DeviceDesk } from "../mock/devices";
import { MockHub } from "../mock/server";
import { stormyTown } from "../mock/town";
import { expect, openWithoutMap, violations } from "./hub";
import { storiesOf } from "./page";

const test = storiesOf(async () => {
  const hub = await MockHub.start(stormyTown(Date.now()));
  hub.also(new DeviceDesk().answer);
  return hub;
});

function trouble(id: number, more: Partial<Trouble> = {}): Trouble {
  return {
    id, code: "broker", subject: "10.0.0.7:1883", severity: "major", since: "2026-11-28T04:00:00Z", raised_at: "2026-11-28T04:00:30Z",
    ended_at: null, facts: { why: { zh: "连接被拒绝", en: "connection refused" } },
    text: { zh: "外部消息服务器 10.0.0.7:1883 未接通", en: "The external broker 10.0.0.7:1883 does not serve us" },
    remedy: { zh: "主机会自动重连;连接被拒绝", en: "The hub tries again by itself; connection refused" },
    ...more,
  };
}

for (const width of [1100, 390]) {
  test(`a trouble of the hub shows at once on an open map page at ${width}, and goes`, async ({ page, hub }) => {
    await page.setViewportSize({ width, height: 780 });
    await openWithoutMap(page, hub, "?lang=en&theme=light");
    const badge = page.getByRole("link", { name: /^Troubles of the hub/ });
    await expect(badge).toHaveCount(0);
    hub.setTroubles([trouble(1)]);
    await expect(badge).toBeVisible();
    await expect(badge).toHaveText("1");
    const full = { code: "disk", subject: "", severity: "critical", text: { zh: "磁盘已满", en: "The disk is full" } } as const;
    hub.setTroubles([trouble(2, full), trouble(1)]);
    await expect(badge).toHaveAccessibleName("Troubles of the hub: 2. The disk is full");
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    expect(await violations(page)).toEqual([]);
    await badge.click();
    await expect(page).toHaveURL(/page=health/);
    await expect(page.locator("[data-trouble]")).toHaveCount(2);
    await expect(page.locator("[data-trouble=broker]")).toContainText("connection refused");
    await expect(page.locator("[data-trouble=broker]")).toContainText("Since 28 Nov 2026, 12:00");
    expect(await violations(page)).toEqual([]);
    hub.setTroubles([]);
    await expect(page.getByText("All is well.")).toBeVisible();
    await expect(badge).toHaveCount(0);
  });
}

test("a page that is opened while the hub is in trouble shows it, in Chinese and dark too", async ({ page, hub }) => {
  hub.troubles = [trouble(1, { code: "channel", subject: "tickets", text: { zh: "通知渠道 tickets 失败", en: "tickets fails" } })];
  await openWithoutMap(page, hub, "?lang=zh&theme=dark");
  const badge = page.getByRole("link", { name: "主机异常 1 项:通知渠道 tickets 失败" });
  await expect(badge).toBeVisible();
  await page.getByRole("button", { name: "页面:设备、报表、规则、设置" }).click();
  await expect(page.getByRole("dialog").getByRole("link", { name: /运行状况/ })).toContainText("1");
  await page.getByRole("dialog").getByRole("link", { name: /运行状况/ }).click();
  await expect(page.locator("[data-trouble=channel]").getByRole("button", { name: "查看" })).toBeVisible();
  expect(await violations(page)).toEqual([]);
});
