/** What every story starts from: a mock hub of its own, and a page that tells on itself. */

import { test as base, expect, type Page } from "@playwright/test";
import { MockHub } from "../mock/server";
import { stormyTown } from "../mock/town";

interface Fixtures {
  hub: MockHub;
  /** Requests to other hosts and breaches of the policy; every story ends by finding it empty. */
  sins: string[];
}

export const test = base.extend<Fixtures>({
  hub: async ({}, use) => {
    const hub = await MockHub.start(stormyTown(Date.now()));
    await use(hub);
    await hub.stop();
  },
  sins: [
    async ({ page, context, hub }, use) => {
      const sins: string[] = [];
      context.on("request", (request) => {
        const url = new URL(request.url());
        if (!["data:", "blob:"].includes(url.protocol) && url.origin !== hub.url) sins.push(`request to ${url.origin}`);
      });
      page.on("console", (message) => {
        if (/Content Security Policy/i.test(message.text())) sins.push(message.text());
      });
      page.on("pageerror", (error) => sins.push(String(error)));
      await use(sins);
      expect(sins).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** Opens the console and waits until the town and the map are there. */
export async function open(page: Page, hub: MockHub, query = "?lang=zh&theme=light"): Promise<void> {
  await page.goto(`${hub.url}/${query}`);
  await expect(page.locator("[data-map=ready]")).toBeAttached({ timeout: 45_000 });
  await expect(page.locator(".stream")).toHaveClass(/live/);
}
