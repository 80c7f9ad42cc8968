/** Takes the pictures that people look at: `PICTURES=<folder> npx playwright test pictures`. */

import { USERS } from "../mock/cases";
import { quietTown } from "../mock/town";
import { open, openWithoutMap, test } from "./hub";

const folder = process.env.PICTURES ?? "";

test.skip(folder === "", "pictures are taken on demand");

const SIZES = { wide: [1920, 1080], laptop: [1440, 900], phone: [390, 844] } as const;
const SHOTS: [string, keyof typeof SIZES, string][] = [
  ["wide-storm-zh-light", "wide", "?lang=zh&theme=light"],
  ["wide-storm-en-dark", "wide", "?lang=en&theme=dark"],
  ["laptop-storm-en-light", "laptop", "?lang=en&theme=light"],
  ["laptop-storm-zh-dark", "laptop", "?lang=zh&theme=dark"],
];

for (const [name, size, query] of SHOTS) {
  test(name, async ({ page, hub }) => {
    const [width, height] = SIZES[size];
    await page.setViewportSize({ width, height });
    await open(page, hub, query);
    await page.keyboard.press("n");
    await page.waitForTimeout(2_500);
    await page.screenshot({ path: `${folder}/${name}.png` });
  });
}

test("phone", async ({ page, hub }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await open(page, hub);
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: `${folder}/phone-list.png` });
  await page.getByRole("button", { name: "地图", exact: true }).click();
  await page.waitForTimeout(2_000);
  await page.screenshot({ path: `${folder}/phone-map.png` });
  await page.keyboard.press("n");
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: `${folder}/phone-map-detail.png` });
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "列表", exact: true }).click();
  await page.locator("[data-alert]").first().click();
  await page.waitForTimeout(1_500);
  await page.screenshot({ path: `${folder}/phone-detail.png` });
});

test("calm", async ({ page, hub }) => {
  hub.town = quietTown();
  await page.setViewportSize({ width: 1920, height: 1080 });
  await open(page, hub);
  await page.waitForTimeout(2_000);
  await page.screenshot({ path: `${folder}/wide-calm-zh-light.png` });
});

test("close", async ({ page, hub }) => {
  await page.setViewportSize({ width: 1366, height: 768 });
  await open(page, hub, "?lang=zh&theme=light");
  await page.getByRole("button", { name: /^设施/ }).click();
  await page.getByRole("searchbox").fill("西栅一号停车场 40");
  await page.locator(".row").first().click();
  await page.waitForTimeout(3_000);
  await page.screenshot({ path: `${folder}/laptop-bays.png` });
});

test("stale", async ({ page, hub }) => {
  await page.clock.install();
  await page.setViewportSize({ width: 1366, height: 768 });
  await open(page, hub, "?lang=zh&theme=light");
  hub.beating = false;
  await page.keyboard.press("n");
  await page.waitForTimeout(2_000);
  await page.clock.fastForward(95_000);
  await page.waitForTimeout(1_000);
  await page.screenshot({ path: `${folder}/laptop-stale.png` });
});

test("empty", async ({ page, hub }) => {
  await page.setViewportSize({ width: 1366, height: 768 });
  hub.town = { features: [], alerts: [] };
  await open(page, hub, "?lang=en&theme=light");
  await page.waitForTimeout(2_000);
  await page.screenshot({ path: `${folder}/laptop-empty.png` });
});

const ALL = [["wide", "zh", "light"], ["laptop", "en", "dark"], ["laptop", "zh", "light"], ["wide", "en", "light"]] as const;
for (const [size, language, theme] of ALL) {
  test(`cases ${size} ${language} ${theme}`, async ({ page, hub }) => {
    const [width, height] = SIZES[size];
    await page.setViewportSize({ width, height });
    await openWithoutMap(page, hub, `?lang=${language}&theme=${theme}`);
    await page.keyboard.press("c");
    await page.locator("[data-case]").first().click();
    await page.waitForTimeout(1_500);
    const shot = (name: string) => page.screenshot({ path: `${folder}/cases-${name}-${size}-${language}-${theme}.png` });
    await shot("late");
    await page.locator("[data-case='1']").click();
    await page.keyboard.press("a");
    await page.waitForTimeout(400);
    await shot("dispatch");
    await page.keyboard.press("Escape");
    await page.locator("[data-case='6']").click();
    await page.waitForTimeout(300);
    await page.keyboard.press("a");
    await page.waitForTimeout(400);
    await shot("close");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await page.keyboard.press("w");
    await page.waitForTimeout(600);
    await shot("wall");
  });
}

test("tasks", async ({ page, hub }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  hub.user = USERS.li!;
  await page.goto(`${hub.url}/?lang=zh&theme=light`);
  await page.locator("[data-task]").first().waitFor();
  await page.waitForTimeout(500);
  await page.screenshot({ path: `${folder}/tasks-list.png` });
  await page.locator("[data-task] .open").first().click();
  await page.waitForTimeout(500);
  await page.screenshot({ path: `${folder}/tasks-detail.png` });
  hub.fault = "before";
  await page.keyboard.press("a");
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${folder}/tasks-form.png` });
  await page.locator("article footer button.primary").click();
  await page.waitForTimeout(800);
  await page.screenshot({ path: `${folder}/tasks-queued.png` });
  await page.getByRole("button", { name: "关闭详情" }).click();
  await page.screenshot({ path: `${folder}/tasks-queued-list.png` });
});

for (const [size, language, theme] of [["laptop", "zh", "light"], ["laptop", "en", "dark"]] as const) {
  test(`alerts and gate ${size} ${language} ${theme}`, async ({ page, hub }) => {
    const [width, height] = SIZES[size];
    await page.setViewportSize({ width, height });
    await openWithoutMap(page, hub, `?lang=${language}&theme=${theme}`);
    const shot = (name: string) => page.screenshot({ path: `${folder}/${name}-${size}-${language}-${theme}.png` });
    await page.locator("[data-alert='103']").click();
    await page.keyboard.press("Shift+X");
    await page.keyboard.press("s");
    await page.waitForTimeout(800);
    await shot("alerts-pick-shelve");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: /^(设施|Assets)/ }).click();
    await page.getByRole("searchbox").fill("fulan");
    await page.locator(".row").click();
    await page.locator(".case kbd").waitFor();
    await shot("gate-detail");
    await page.keyboard.press("g");
    await page.getByRole("spinbutton").fill("1.2");
    await shot("gate-target");
    await page.getByRole("dialog").locator("footer .primary").click();
    await page.getByRole("dialog").getByRole("textbox").fill("SL-1");
    await shot("gate-check");
    hub.orders.go(1, { state: "executing", step: "moving", value: 1.02, sent_at: new Date().toISOString(), deadline: new Date(Date.now() + 400_000).toISOString() });
    await page.locator(".way").waitFor();
    await shot("gate-moving");
  });
}
