/**
 * The same console on a real hub: `HUB_URL=http://127.0.0.1:8080 HUB_USER=admin HUB_PASSWORD=... npx playwright test smoke`.
 * `HUB_TOKEN` (a bearer token) serves instead of user and password. `PICTURES=<folder>` keeps what it saw.
 */

import { expect, test } from "@playwright/test";

const { HUB_URL, HUB_USER = "admin", HUB_PASSWORD = "", HUB_TOKEN, PICTURES } = process.env;

test.skip(HUB_URL === undefined, "no HUB_URL");

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

  if (HUB_TOKEN !== undefined) {
    await context.setExtraHTTPHeaders({ authorization: `Bearer ${HUB_TOKEN}` });
  } else {
    await page.goto(new URL("/login", hub).href);
    await page.locator("input[name=user]").fill(HUB_USER);
    await page.locator("input[name=password]").fill(HUB_PASSWORD);
    await page.locator("[type=submit], button").first().click();
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
    }
    if (PICTURES !== undefined) {
      await page.waitForTimeout(2_500);
      await page.screenshot({ path: `${PICTURES}/hub-${language}-${theme}.png` });
    }
  }
  expect(foreign).toEqual([]);
  expect(complaints).toEqual([]);
});
