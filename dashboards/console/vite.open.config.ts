import { defineConfig } from "vite";

/**
 * The pages that need no login, built apart from the console: the hub gives away `/open/*` to everybody, so nothing that
 * the console is made of may land there, and nothing that these pages need may land elsewhere.
 */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2022",
    emptyOutDir: false,
    assetsDir: "open",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { parking: "parking.html", join: "join.html" } },
  },
});
