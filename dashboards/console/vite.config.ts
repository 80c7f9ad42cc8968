import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a running hub. */
const hub = process.env.HUB_URL ?? "http://127.0.0.1:8080";

/** What only pages beside the map share is named as theirs, for the budget: every page has its `words`. */
function chunkFileNames({ name, moduleIds }: { name: string; moduleIds: string[] }): string {
  const isOfPages = name !== "route" && moduleIds.every((id) => id.includes("/src/pages/"));
  return isOfPages && !/^(Page|\w+Page$)/.test(name) ? "assets/Page-[name]-[hash].js" : "assets/[name]-[hash].js";
}

export default defineConfig({
  plugins: [svelte()],
  // Both workers are modules: MapLibre loads its own as one, and browsers with WebGL 2 know them.
  worker: { format: "es" },
  build: {
    target: "es2022",
    // The hub serves `/` and `/assets/*` and nothing else, so everything but the page lies there.
    assetsDir: "assets",
    // The policy is `img-src 'self' data: blob:`, but fonts and scripts must be files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1500,
    // The console and the wallboard share what they know of the town; the pages for everybody are built by themselves.
    rolldownOptions: { input: { index: "index.html", wall: "wall.html" }, output: { codeSplitting: true, chunkFileNames } },
  },
  server: { proxy: { "/api": hub, "/login": hub, "/logout": hub, "/metrics": hub, "/readyz": hub } },
  test: { include: ["tests/unit/**/*.test.ts"], environment: "node", setupFiles: ["tests/unit/english.ts"] },
});
