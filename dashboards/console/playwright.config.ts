import { defineConfig } from "@playwright/test";

/** Debian's Chromium; another one by `CHROMIUM=/path`. */
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

export default defineConfig({
  testDir: "tests/e2e",
  workers: Number(process.env.STORY_WORKERS ?? 3),
  // Every story has a hub of its own.
  fullyParallel: true,
  // A busy machine and a slow hub are no failure: what must come at all may take its time.
  timeout: 60_000,
  expect: { timeout: 10_000 },
  retries: 0,
  reporter: "list",
  use: {
    viewport: { width: 1100, height: 680 },
    locale: "zh-CN",
    timezoneId: "Asia/Shanghai",
    launchOptions: {
      executablePath,
      // Pictures are the same on every machine: no card, no hinting, one colour profile. Nothing leaves the host.
      args: [
        "--no-sandbox",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        // Only the map is drawn as by a card: without one, pages are drawn faster by the processor itself.
        "--disable-gpu-compositing",
        "--disable-gpu-rasterization",
        "--font-render-hinting=none",
        "--force-color-profile=srgb",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
      ],
    },
  },
});
