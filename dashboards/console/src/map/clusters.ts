/**
 * Crowds: where more things lie on the map than can be told apart, one mark stands for them. By the same rule as the hub's
 * `/map?zoom=`: cells of 64 pixels, more than 24 in one. It follows from where things are and from nothing that happens, so it
 * is done once; clustering again on live data costs 200-350 ms, and one critical alert in a thousand things would hide or
 * paint the rest. What is abnormal is drawn above the crowds, always.
 */

import type { Feature, FeatureCollection, Point } from "geojson";
import type { Kind } from "../api/types";
import type { Asset } from "../town/town";

/** Below this zoom crowds are made. */
export const CROWDS_BELOW = 16;
/** The map's least zoom. */
export const LEAST_ZOOM = 11;
export const CROWD = 24;
const CELLS_PER_TILE = 8;

/** Lines show the net, however many; bays are drawn near only, and their lot speaks for them. */
const ALONE: ReadonlySet<Kind> = new Set<Kind>(["pipe", "parking-bay"]);

export interface Crowds {
  /** From which zoom on an asset is drawn by itself; those from the beginning are left out. */
  from: ReadonlyMap<number, number>;
  /** One mark per crowd and zoom. */
  marks: FeatureCollection<Point>;
}

interface Cell {
  members: number[];
  lon: number;
  lat: number;
}

export function crowdsOf(assets: Iterable<Asset>): Crowds {
  const from = new Map<number, number>();
  const features: Feature<Point>[] = [];
  let rest = [...assets].filter(({ kind }) => !ALONE.has(kind));
  // From far to near: a thing that stood by itself far out stands by itself nearer, where cells are quarters of those.
  for (let zoom = LEAST_ZOOM; zoom < CROWDS_BELOW && rest.length > CROWD; zoom += 1) {
    const crowded: Asset[] = [];
    for (const [, cell] of cellsOf(rest, zoom)) {
      if (cell.members.length <= CROWD) continue;
      features.push(mark(cell, zoom));
      for (const member of cell.members) {
        const asset = rest[member];
        if (asset === undefined) continue;
        from.set(asset.number, zoom + 1);
        crowded.push(asset);
      }
    }
    rest = crowded;
  }
  return { from, marks: { type: "FeatureCollection", features } };
}

function cellsOf(assets: readonly Asset[], zoom: number): Map<number, Cell> {
  const side = 360 / 2 ** zoom / CELLS_PER_TILE;
  const cells = new Map<number, Cell>();
  for (const [index, { anchor: [lon, lat] }] of assets.entries()) {
    // Two whole numbers in one: a text as key takes five times as long.
    const key = Math.floor(lon / side) * 0x100_0000 + Math.floor(lat / side);
    let cell = cells.get(key);
    if (cell === undefined) cells.set(key, (cell = { members: [], lon: 0, lat: 0 }));
    cell.members.push(index);
    cell.lon += (lon - cell.lon) / cell.members.length;
    cell.lat += (lat - cell.lat) / cell.members.length;
  }
  return cells;
}

function mark({ members, lon, lat }: Cell, zoom: number): Feature<Point> {
  const count = members.length;
  return {
    type: "Feature",
    geometry: { type: "Point", coordinates: [lon, lat] },
    properties: { zoom, count, text: count < 1000 ? String(count) : `${(count / 1000).toFixed(1)}k` },
  };
}
