/** Figures of the map with a large town; not a story: `MEASURE=50000 npx playwright test speed`. */

import { expect, test, type Page } from "@playwright/test";
import { largeTown } from "../mock/large";
import { MockHub } from "../mock/server";

const COUNT = Number(process.env.MEASURE ?? 0);
test.skip(COUNT === 0, "a measurement, not a story");

interface Figures {
  frames: number;
  worstMs: number;
  busyMs: number;
}

/** Frames, the longest wait between two, and the time in tasks of more than 50 ms, while `act` goes on. */
async function during(page: Page, act: () => Promise<void>): Promise<Figures & { seconds: number }> {
  await page.evaluate(() => {
    const figures = { frames: 0, worstMs: 0, busyMs: 0, on: true };
    (window as unknown as { figures: typeof figures }).figures = figures;
    new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (figures.busyMs += duration))).observe({ type: "longtask" });
    let last = performance.now();
    const frame = (now: number): void => {
      figures.frames += 1;
      figures.worstMs = Math.max(figures.worstMs, now - last);
      last = now;
      if (figures.on) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  const from = Date.now();
  await act();
  const figures = await page.evaluate(() => {
    const { figures } = window as unknown as { figures: Figures & { on: boolean } };
    figures.on = false;
    return figures;
  });
  return { ...figures, seconds: (Date.now() - from) / 1000 };
}

test("load, pan, update, find", async ({ page }) => {
  test.setTimeout(240_000);
  const hub = await MockHub.start(largeTown(COUNT));
  const from = Date.now();
  await page.goto(`${hub.url}/?lang=zh&theme=light`);
  await expect(page.locator(".stream")).toHaveClass(/live/, { timeout: 60_000 });
  await expect(page.getByRole("button", { name: /^设施/ })).toContainText(String(COUNT), { timeout: 60_000 });
  const listMs = Date.now() - from;
  await expect(page.locator("[data-map=ready]")).toBeAttached({ timeout: 120_000 });
  const mapMs = Date.now() - from;
  // What the map has still to draw after it is ready is no part of the quiet.
  await page.waitForTimeout(5_000);
  const quiet = await during(page, () => page.waitForTimeout(5_000));
  const pan = await during(page, async () => {
    await page.mouse.move(300, 350);
    await page.mouse.down();
    for (let step = 1; step <= 40; step += 1) {
      await page.mouse.move(300 + step * 6, 350 + step * 2);
      await page.waitForTimeout(25);
    }
    await page.mouse.up();
    await page.waitForTimeout(500);
  });
  const update = await during(page, async () => {
    for (let second = 0; second < 10; second += 1) {
      hub.changeMany(Array.from({ length: 150 }, (_, n) => ((second * 977 + n * 331) % COUNT) + 1), second % 2);
      await page.waitForTimeout(1_000);
    }
  });
  await page.getByRole("button", { name: /^设施/ }).click();
  const find = await during(page, async () => {
    await page.getByRole("searchbox").fill(`xhl${Math.floor(COUNT / 11)}`);
    await expect(page.locator(".row .name").first()).toContainText(String(Math.floor(COUNT / 11)));
  });
  console.log(JSON.stringify({ COUNT, listMs, mapMs, quiet, pan, update, find }, null, 1));
  await hub.stop();
});
