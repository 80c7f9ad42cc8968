/** The four shapes of severity on a grid of 24, shared by the page's marks and the map's icons. */

import type { Rank } from "../api/types";

export const SHAPES: Record<Rank, string> = {
  1: "M3 3H21V21H3Z",
  2: "M12 1.5 23 21.5H1Z",
  3: "M12 1 23 12 12 23 1 12Z",
  4: "M12 2A10 10 0 1 1 12 22A10 10 0 1 1 12 2Z",
};

/** The base line of the number: a triangle's middle lies lower. */
export const SHAPE_TEXT_Y: Record<Rank, number> = { 1: 16, 2: 19, 3: 16, 4: 16 };
