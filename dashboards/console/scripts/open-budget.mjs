/** The budgets of the pages for everybody: each with all its files, compressed, for a phone on a bad link. */

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGETS_KB = { "parking.html": 25, "join.html": 10 };
const dist = new URL("../dist/", import.meta.url);
const size = (name) => gzipSync(readFileSync(new URL(name, dist)), { level: 9 }).length;

let over = false;
for (const [page, budget] of Object.entries(BUDGETS_KB)) {
  const files = new Set([page]);
  // A page names its scripts and styles, and a script what it imports.
  for (const file of files) {
    if (!/\.(html|js|css)$/.test(file)) continue;
    const text = readFileSync(new URL(file, dist), "utf8");
    for (const [, name] of text.matchAll(/["'(](?:\.?\/)?((?:open\/)?[\w-]+-[\w-]{8}\.(?:js|css|svg))["')]/g)) {
      files.add(name.startsWith("open/") ? name : `open/${name}`);
    }
  }
  const kb = [...files].reduce((sum, name) => sum + size(name), 0) / 1000;
  over ||= kb > budget || files.size < 3;
  console.log(`${page.padEnd(13)} ${kb.toFixed(1).padStart(5)} kB of ${budget} kB gzip, ${files.size} files`);
}
if (over) {
  console.error("A page for everybody is over its budget, or its files were not found.");
  process.exit(1);
}
