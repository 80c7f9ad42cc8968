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

/** Takes the browser's WebGL away: stories that need no map are told ten times as fast. */
export async function withoutMap(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const original = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: never[]) {
      return kind.startsWith("webgl") ? null : original.call(this, kind as "2d", ...rest);
    } as typeof original;
  });
}

/** Opens the console in a browser without WebGL. */
export async function openWithoutMap(page: Page, hub: MockHub, query = "?lang=zh&theme=light"): Promise<void> {
  await withoutMap(page);
  await page.goto(`${hub.url}/${query}`);
  await expect(page.locator("[data-alert], [data-task]").first()).toBeVisible({ timeout: 15_000 });
  await expect(page.locator(".stream")).toHaveClass(/live/);
}

/** Goes to another page over the map as its links do, and waits until it has read what it shows. */
export async function turnTo(page: Page, query: string): Promise<void> {
  const go = (to: string): Promise<void> =>
    page.evaluate((url) => {
      history.pushState(null, "", url);
      dispatchEvent(new PopStateEvent("popstate"));
    }, to);
  await go("/");
  await expect(page.locator(".page-frame")).toHaveCount(0);
  await go(`/?${query}`);
  await settled(page);
}

/** Waits until a page over the map has read what it shows. */
export async function settled(page: Page): Promise<void> {
  await expect(page.locator(".page-frame .sheet").first()).toBeVisible();
  await expect(page.getByText(/^(正在读取……|Reading …)$/)).toHaveCount(0);
}
