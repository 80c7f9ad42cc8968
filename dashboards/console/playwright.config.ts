import { defineConfig } from "@playwright/test";

/** Debian's Chromium; another one by `CHROMIUM=/path`. */
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

export default defineConfig({
  testDir: "tests/e2e",
  workers: 2,
  // Every story has a hub of its own.
  fullyParallel: true,
  timeout: 30_000,
  // A busy machine and a slow hub are no failure: what must come at all may take its time.
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
        "--font-render-hinting=none",
        "--force-color-profile=srgb",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
      ],
    },
  },
});
