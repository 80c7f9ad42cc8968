/** What page and map both know of the ground and of what stands on it. */

import type { BaseMap, Kind } from "../api/types";

/** The ground that the page brings along. */
export const SCHEMATIC: BaseMap = {
  base: "schematic",
  crs: "wgs84",
  kind: "schematic",
  layers: [],
  tiles: null,
  data: null,
  parts: [],
  min_zoom: 0,
  max_zoom: 22,
  bounds: null,
  attribution: null,
  problem: null,
};

/** Kinds whose value stands beside their symbol; a town has some dozens of them. */
export const FOLLOWED: ReadonlySet<Kind> = new Set<Kind>(["sluice-gate", "canal-gauge", "rain-gauge"]);
