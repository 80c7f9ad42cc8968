/** What every story of the console starts from: a mock hub of its own, with a town in a storm. */

import { expect, type Page } from "@playwright/test";
import { MockHub } from "../mock/server";
import { stormyTown } from "../mock/town";
import { storiesOf, violations } from "./page";

export const test = storiesOf(() => MockHub.start(stormyTown(Date.now())));
export { expect, violations };

/** Opens the console and waits until the town and the map are there. */
export async function open(page: Page, hub: MockHub, query = "?lang=zh&theme=light"): Promise<void> {
  await page.goto(`${hub.url}/${query}`);
  await expect(page.locator("[data-map=ready]")).toBeAttached({ timeout: 45_000 });
  await expect(page.locator(".stream")).toHaveClass(/live/);
}

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
