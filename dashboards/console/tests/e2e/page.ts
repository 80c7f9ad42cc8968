/** A page that tells on itself, and what is asked of every page: no sins, no barriers, a picture when one is wanted. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test as base, expect, type Page } from "@playwright/test";

interface Fixtures<Hub> {
  hub: Hub;
  /** Requests to other hosts and breaches of the policy; every story ends by finding it empty. */
  sins: string[];
}

/** Stories that each start with a hub of their own. */
export function storiesOf<Hub extends { url: string; stop(): Promise<void> }>(start: () => Promise<Hub>) {
  return base.extend<Fixtures<Hub>>({
    hub: async ({}, use) => {
      const hub = await start();
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
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Breaches of WCAG 2.2 A and AA and of good practice, by rule. */
export async function violations(page: Page): Promise<string[]> {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axeSource);
  return page.evaluate(async () => {
    // @ts-expect-error axe is put into the page by the line above
    const found = await window.axe.run(document, { resultTypes: ["violations"] });
    return found.violations.map(
      (one: { id: string; nodes: { html: string; failureSummary: string }[] }) =>
        `${one.id}: ${one.nodes[0]?.html} ${one.nodes[0]?.failureSummary}`,
    );
  });
}

/** A hub that is slow with one thing: requests of it wait until the answer of this is called. */
export async function heldBack(page: Page, what: RegExp, method = "GET"): Promise<() => void> {
  let answer = (): void => undefined;
  const held = new Promise<void>((resolve) => (answer = resolve));
  await page.route(what, async (route) => {
    if (route.request().method() === method) await held;
    await route.fallback();
  });
  return () => answer();
}

/** Keeps a picture for people, when a folder for them is named by `PICTURES`. */
export async function picture(page: Page, name: string, fullPage = false): Promise<void> {
  const folder = process.env.PICTURES;
  if (folder !== undefined) await page.screenshot({ path: `${folder}/${name}.png`, fullPage });
}
