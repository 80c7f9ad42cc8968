/** Devices: connected, looked at, found in a list, approved; the hub's health; a town without anything. */

import { DeviceDesk, NASTY } from "../mock/devices";
import { MockHub } from "../mock/server";
import { stormyTown } from "../mock/town";
import { expect, test as base, turnTo, violations, withoutMap } from "./hub";
import { storiesOf } from "./page";

const test = base.extend<{ desk: DeviceDesk }>({
  desk: async ({ hub, page }, use) => {
    await withoutMap(page);
    const desk = new DeviceDesk();
    hub.also(desk.answer);
    await use(desk);
  },
});

const SIZES = [{ width: 1100, height: 680 }, { width: 390, height: 844 }];

test("a device is connected: its line is ready to run, nonsense is told, then its values show", async ({ page, hub, desk }) => {
  await page.goto(`${hub.url}/?page=connect&lang=zh&theme=light`);
  await page.getByLabel("设备型号").selectOption("wz-mh1");
  await page.getByLabel("设备编号").fill("mh-1");
  await page.getByRole("button", { name: "登记", exact: true }).click();
  // A refusal loses nothing that was typed.
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(page.getByLabel("设备编号")).toHaveValue("mh-1");
  await page.getByLabel("设备编号").fill("mh-900");
  await page.getByRole("button", { name: "登记", exact: true }).click();
  await expect(page.getByRole("group", { name: "发送一条示例消息" })).toHaveText(
    `mosquitto_pub -h 127.0.0.1 -p 1883 -u mh-900 -P s3cr3t -q 1 -t devices/mh-900/telemetry -m '{"level_mm":1243}'`,
  );
  expect(desk.made).toHaveLength(1);
  await expect(page.getByRole("heading", { name: "等待首次上报" })).toBeVisible();
  desk.said = "nonsense";
  await expect(page.getByText("无法解码:某项的类型不对")).toBeVisible();
  desk.said = "values";
  await expect(page.getByText("设备已接入")).toBeVisible();
  await expect(page.getByText("1.24 m")).toBeVisible();
  await page.getByRole("link", { name: "打开设备页" }).click();
  await expect(page.getByRole("heading", { name: "井 mh-900" })).toBeVisible();
});

test("a device's page tells quality, limits in force and what did not decode, as text", async ({ page, hub, desk }) => {
  expect(desk.rows.length).toBeGreaterThan(0);
  await page.goto(`${hub.url}/?page=device&id=mh-1&lang=en&theme=light`);
  await expect(page.getByRole("heading", { name: "Manhole mh-1" })).toBeVisible();
  await expect(page.getByRole("row", { name: /Methane/ })).toContainText("uncertain");
  await expect(page.getByText("above 1.80 m")).toBeVisible();
  await expect(page.getByText("(by override low-bridge)")).toBeVisible();
  await expect(page.getByText(NASTY, { exact: true })).toBeVisible();
  expect(await page.locator("img").count()).toBe(0);
  await page.getByRole("button", { name: "7 days" }).click();
  await expect(page).toHaveURL(/days=7/);
  await page.goBack();
  await expect(page.getByRole("button", { name: "24 h" })).toHaveAttribute("aria-pressed", "true");
  await page.getByRole("button", { name: "New secret" }).click();
  await page.getByRole("button", { name: "Make a new secret" }).click();
  await expect(page.getByText("new-s3cr3t")).toBeVisible();
});

test("the list has trouble first, is narrowed by the address, and approves who waits", async ({ page, hub, desk }) => {
  desk.waiting = [{ id: "new-1", enrolment: 1, profile: "wz-mh1", zone: null, peer: "10.0.0.9", since: new Date().toISOString(), connected: true, published: [] }];
  await page.goto(`${hub.url}/?page=devices&lang=en&theme=light`);
  await expect(page.getByRole("rowheader")).toContainText(["mh-1", "mh-2", "mh-4", "mh-3"]);
  await page.getByRole("combobox", { name: "State" }).selectOption("undecoded");
  await expect(page).toHaveURL(/state=undecoded/);
  await expect(page.getByRole("rowheader")).toContainText(["mh-4"]);
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Approve" }).click();
  await expect(page.getByText("wait for approval")).toHaveCount(0);
  expect(desk.approved).toEqual([["new-1", "approve", { profile: "wz-mh1" }]]);
});

test("who may not connect is not offered it", async ({ page, hub, desk }) => {
  expect(desk.made).toEqual([]);
  hub.user = { ...hub.user, rights: ["view"] };
  await page.goto(`${hub.url}/?page=devices&lang=en&theme=light`);
  await expect(page.getByRole("rowheader").first()).toBeVisible();
  await expect(page.getByRole("button", { name: "Connect a device" })).toHaveCount(0);
  await page.goto(`${hub.url}/?page=connect&lang=en&theme=light`);
  await expect(page.getByText("Your role may not open this page.")).toBeVisible();
});

test("health says what is wrong and what to do, and leads there", async ({ page, hub, desk }) => {
  await page.clock.install();
  await page.goto(`${hub.url}/?page=health&lang=en&theme=light`);
  await expect(page.getByText("All is well.")).toBeVisible();
  desk.deadDevices = 3;
  await page.clock.fastForward(5_100);
  await expect(page.getByText("3 devices are lost")).toBeVisible();
  await page.getByRole("button", { name: "Open" }).click();
  await expect(page).toHaveURL(/page=devices.*state=dead/);
});

for (const size of SIZES) {
  test(`no page has a barrier or is wider than its screen at ${size.width}`, async ({ page, hub, desk }) => {
    test.setTimeout(120_000);
    desk.deadDevices = 1;
    await page.setViewportSize(size);
    for (const [lang, theme] of [["zh", "light"], ["en", "dark"]]) {
      await page.goto(`${hub.url}/?page=devices&lang=${lang}&theme=${theme}`);
      for (const at of ["page=devices", "page=device&id=mh-1", "page=connect", "page=connect&way=key", "page=health"]) {
        await turnTo(page, at);
        // Every page in both languages and sizes, for barriers once in each language and theme.
        if ((lang === "zh") === (size.width > 760)) expect(await violations(page), `${at} ${lang}`).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), at).toBe(true);
        expect(await page.locator(".page-body").evaluate((body) => body.scrollWidth <= body.clientWidth), at).toBe(true);
      }
    }
  });
}

const emptyTest = storiesOf(() => MockHub.start({ ...stormyTown(Date.now()), features: [], alerts: [] }));

emptyTest("a town without anything says what to do next", async ({ page, hub }) => {
  const desk = new DeviceDesk();
  desk.rows = [];
  hub.also(desk.answer);
  await page.goto(`${hub.url}/?lang=en&theme=dark`);
  await expect(page.getByRole("heading", { name: "There are no devices yet" })).toBeVisible({ timeout: 15_000 });
  expect(await violations(page)).toEqual([]);
  await page.getByRole("link", { name: "Connect a device" }).click();
  await expect(page.getByRole("combobox", { name: "Device profile" })).toBeVisible();
});
