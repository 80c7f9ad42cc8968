/** Where the mark of an asset stands. */

import type { Geometry, Position } from "geojson";

export type LonLat = [number, number];

/** One point for any geometry: a line's middle by length, a polygon's mean corner. */
export function anchor(geometry: Geometry): LonLat {
  switch (geometry.type) {
    case "Point":
      return lonLat(geometry.coordinates);
    case "MultiPoint":
      return mean(geometry.coordinates);
    case "LineString":
      return middle(geometry.coordinates);
    case "MultiLineString":
      return middle(geometry.coordinates[0] ?? []);
    case "Polygon":
      return mean((geometry.coordinates[0] ?? []).slice(1));
    case "MultiPolygon":
      return mean((geometry.coordinates[0]?.[0] ?? []).slice(1));
    case "GeometryCollection":
      return geometry.geometries[0] === undefined ? [0, 0] : anchor(geometry.geometries[0]);
  }
}

function lonLat(position: Position): LonLat {
  return [position[0] ?? 0, position[1] ?? 0];
}

function mean(positions: Position[]): LonLat {
  const sum = positions.reduce<LonLat>(
    ([x, y], position) => [x + (position[0] ?? 0), y + (position[1] ?? 0)],
    [0, 0],
  );
  const n = Math.max(1, positions.length);
  return [sum[0] / n, sum[1] / n];
}

/** Degrees serve as lengths here: a mark may stand a metre off. */
function middle(line: Position[]): LonLat {
  const points = line.map(lonLat);
  const lengths = points.slice(1).map((point, i) => distance(points[i] ?? point, point));
  let rest = lengths.reduce((sum, length) => sum + length, 0) / 2;
  for (const [i, length] of lengths.entries()) {
    const from = points[i];
    const to = points[i + 1];
    if (from === undefined || to === undefined) break;
    if (rest <= length && length > 0) {
      const share = rest / length;
      return [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share];
    }
    rest -= length;
  }
  return points[0] ?? [0, 0];
}

function distance(a: LonLat, b: LonLat): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
