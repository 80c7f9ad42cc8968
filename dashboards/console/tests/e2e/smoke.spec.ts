/**
 * The same console on a real hub: `HUB_URL=http://127.0.0.1:8080 HUB_USER=admin HUB_PASSWORD=... npx playwright test smoke`.
 * `PICTURES=<folder>` keeps what it saw. A token would not do: the live stream of a shared worker carries the cookie only.
 */

import { expect, test } from "@playwright/test";

const { HUB_URL, HUB_USER = "admin", HUB_PASSWORD = "", PICTURES } = process.env;

test.skip(HUB_URL === undefined, "no HUB_URL");

// Beside the other scenarios of `make test` two cores have more to do than to paint.
test.setTimeout(120_000);

test("the console of a real hub shows its town, live", async ({ page, context }) => {
  const hub = new URL(HUB_URL ?? "");
  const foreign: string[] = [];
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== hub.origin) foreign.push(url.href);
  });
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));

  await page.goto(new URL("/login", hub).href);
  await page.locator("input[name=user]").fill(HUB_USER);
  await page.locator("input[name=password]").fill(HUB_PASSWORD);
  await page.locator("button").first().click();
  await page.waitForURL((url) => url.pathname !== "/login");
  if (new URL(page.url()).pathname === "/password") {
    // The first log-in: a password of one's own.
    await page.locator("input[name=current]").fill(HUB_PASSWORD);
    await page.locator("input[name=new]").fill(`${HUB_PASSWORD}-own`);
    await page.locator("input[name=again]").fill(`${HUB_PASSWORD}-own`);
    await page.locator("button").first().click();
    await page.waitForURL((url) => url.pathname === "/");
  }
  await page.setViewportSize({ width: 1920, height: 1080 });
  for (const [language, theme] of [["zh", "light"], ["en", "dark"]] as const) {
    await page.goto(new URL(`/?lang=${language}&theme=${theme}`, hub).href);
    await expect(page.locator("[data-map=ready]")).toBeAttached({ timeout: 15_000 });
    await expect(page.locator(".stream")).toHaveClass(/live/, { timeout: 15_000 });
    const assets = page.getByRole("button", { name: language === "zh" ? /^设施/ : /^Assets/ });
    await expect(assets).not.toHaveText(/\D0$/);
    if ((await page.locator("[data-alert]").count()) > 0) {
      await page.locator("[data-alert]").first().click();
      await expect(page.getByRole("article").getByRole("heading")).not.toBeEmpty();
      await expect(page.getByRole("article").locator("table")).toBeVisible();
      if (language === "zh") {
        // The loop's first step, by keyboard: the hub's own answer comes back to the row.
        await page.keyboard.press("n");
        await page.keyboard.press("a");
        await expect(page.locator("[data-alert][aria-current=true]")).toContainText("已确认");
      }
    }
    if (PICTURES !== undefined) {
      await page.waitForTimeout(2_500);
      await page.screenshot({ path: `${PICTURES}/hub-${language}-${theme}.png` });
    }
  }
  expect(foreign).toEqual([]);
  expect(complaints).toEqual([]);
});
