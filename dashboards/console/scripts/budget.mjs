/**
 * The bundle's budget: what a console without its map weighs, compressed as the hub sends it.
 * The first view is the page with its styles; the chart comes with the first alert, the map by itself, and each room (cases,
 * a gate's command, the wall) when it is first opened, a badge when there is something to tell, and English when somebody reads it.
 */

import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGETS_KB = { page: 60, english: 10, rooms: 44, chart: 25, map: 480, wall: 10, pages: 180 };
/** What is not of the first view, by the names of its files: rooms are loaded when they are first opened. */
const PARTS = [
  ["map", /^(view|maplibre|HistoryColumn)/],
  ["english", /^i18n\.en/],
  ["chart", /^trend-plot/],
  ["wall", /^wall/],
  ["pages", /^(Page|pages-|\w+Page-|remote|when-|hub-)/],
  ["rooms", /^(CaseRoom|OverdueWall|GateDialog|Detail|AssetList|HelpDialog|EmptyTown|words|Due|BulkBar|outbox|photo|TroubleBadge)/],
];
const folder = new URL("../dist/assets/", import.meta.url);
const sums = { page: 0, english: 0, rooms: 0, chart: 0, map: 0, wall: 0, pages: 0 };

for (const name of readdirSync(folder)) {
  if (!/\.(js|css)$/.test(name)) continue;
  const part = PARTS.find(([, names]) => names.test(name))?.[0] ?? "page";
  sums[part] += gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length;
}

let over = false;
for (const [part, bytes] of Object.entries(sums)) {
  const kb = bytes / 1000;
  over ||= kb > BUDGETS_KB[part] || bytes === 0;
  console.log(`${part.padEnd(7)} ${kb.toFixed(1).padStart(6)} kB of ${BUDGETS_KB[part]} kB gzip`);
}
if (over) {
  console.error("The bundle is over its budget, or a part of it was not found.");
  process.exit(1);
}
