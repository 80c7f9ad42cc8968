/** What every story starts from: a mock hub of its own, and a page that tells on itself. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
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

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Opens the console in a browser without WebGL: stories that need no map are told ten times as fast. */
export async function openWithoutMap(page: Page, hub: MockHub, query = "?lang=zh&theme=light"): Promise<void> {
  await page.addInitScript(() => {
    const original = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: never[]) {
      return kind.startsWith("webgl") ? null : original.call(this, kind as "2d", ...rest);
    } as typeof original;
  });
  await page.goto(`${hub.url}/${query}`);
  await expect(page.locator("[data-alert], [data-task]").first()).toBeVisible({ timeout: 15_000 });
  await expect(page.locator(".stream")).toHaveClass(/live/);
}

/** Breaches of WCAG 2.2 A and AA and of good practice, by rule. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    // @ts-expect-error axe is put into the page by the line above
    const found = await window.axe.run(document, { resultTypes: ["violations"] });
    return found.violations.map(
      (one: { id: string; nodes: { html: string; failureSummary: string }[] }) =>
        `${one.id}: ${one.nodes[0]?.html} ${one.nodes[0]?.failureSummary}`,
    );
  });
}
