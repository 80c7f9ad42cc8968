/** What the page knows of the lots: their order, their numbers, the way to them. Pure. */

import type { Language } from "../../i18n";

export interface Span {
  least: number;
  most: number;
}

/** A lot as `GET /api/v1/parking` tells it. */
export interface Lot {
  id: string;
  name: { zh: string; en: string };
  /** Longitude and latitude, WGS-84. */
  position: [number, number];
  position_gcj02: [number, number];
  capacity: number;
  free: Span;
  occupied: Span;
  unknown: number;
  closed: number;
  occupation: "open" | "nearly_full" | "full" | "closed" | "unknown";
  trend: "filling" | "steady" | "emptying" | null;
  observed_at: string | null;
}

export interface Board {
  town: { zh: string; en: string };
  changed_at: string;
  lots: Lot[];
  left_out: number;
}

/** Mean radius of the earth in metres. */
const EARTH_M = 6_371_008.8;

/** The way through the air in metres between two places (longitude, latitude in degrees). */
export function distanceM([lon1, lat1]: [number, number], [lon2, lat2]: [number, number]): number {
  const rad = Math.PI / 180;
  const [dLat, dLon] = [(lat2 - lat1) * rad, (lon2 - lon1) * rad];
  const a = Math.sin(dLat / 2) ** 2 + Math.cos(lat1 * rad) * Math.cos(lat2 * rad) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_M * Math.asin(Math.min(1, Math.sqrt(a)));
}

/** The lots in the order in which they are read: the nearest first, or by name where nobody knows where the reader is. */
export function inOrder(lots: readonly Lot[], here: [number, number] | null, language: Language): Lot[] {
  const names = new Intl.Collator(language === "zh" ? "zh-CN" : "en");
  const byName = (a: Lot, b: Lot): number => names.compare(a.name[language], b.name[language]) || (a.id < b.id ? -1 : 1);
  if (here === null) return [...lots].sort(byName);
  return [...lots].sort((a, b) => distanceM(here, a.position) - distanceM(here, b.position) || byName(a, b));
}

/** The big number: a count, its bounds where only those are known, or nothing. */
export function freeText({ free, occupation }: Lot): string {
  if (occupation === "unknown" || occupation === "closed") return "–";
  return free.least === free.most ? String(free.least) : `${free.least}–${free.most}`;
}

/** The shares of the bar in per cent: taken, not known, and not to be had. The rest is free. */
export function barShares(lot: Lot): { taken: number; unknown: number; closed: number } {
  const share = (bays: number): number => (lot.capacity === 0 ? 0 : (100 * bays) / lot.capacity);
  return { taken: share(lot.occupied.least), unknown: share(lot.unknown), closed: share(lot.closed) };
}

/** Plain links to a lot for the maps that people have. Chinese ones take GCJ-02, a phone's own WGS-84. */
export function routes(lot: Lot, language: Language): { word: "go.amap" | "go.baidu" | "go.device"; href: string }[] {
  const name = encodeURIComponent(lot.name[language]);
  const [x, y] = lot.position_gcj02;
  const [lon, lat] = lot.position;
  return [
    {
      word: "go.amap",
      href: `https://uri.amap.com/navigation?to=${x},${y},${name}&mode=car&coordinate=gaode&src=townhub&callnative=1`,
    },
    {
      word: "go.baidu",
      href: `https://api.map.baidu.com/marker?location=${y},${x}&title=${name}&content=${name}&coord_type=gcj02&output=html&src=townhub`,
    },
    { word: "go.device", href: `geo:${lat},${lon}?q=${lat},${lon}(${name})` },
  ];
}
