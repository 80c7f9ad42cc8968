/** Outlines on paper, areas, and which assets lie where. Pure. */

export type Ring = [number, number][];
/** A polygon: its outline, then its holes. */
export type Polygon = Ring[];

export interface Outline {
  id: string;
  name: string;
  polygons: Polygon[];
}

/** The polygons of a geometry as GeoJSON has them; none where it is something else. */
export function polygonsOf(geometry: unknown): Polygon[] {
  if (typeof geometry !== "object" || geometry === null) return [];
  const { type, coordinates } = geometry as { type?: unknown; coordinates?: unknown };
  const polygons = type === "Polygon" ? [coordinates] : type === "MultiPolygon" && Array.isArray(coordinates) ? coordinates : [];
  return polygons.flatMap((polygon) => {
    const rings = Array.isArray(polygon) ? polygon.map(ringOf) : [];
    return rings.length === 0 || rings.some((ring) => ring === null) ? [] : [rings as Polygon];
  });
}

function ringOf(ring: unknown): Ring | null {
  if (!Array.isArray(ring) || ring.length < 4) return null;
  const isPosition = (at: unknown): at is [number, number] => Array.isArray(at) && Number.isFinite(at[0]) && Number.isFinite(at[1]);
  return ring.every(isPosition) ? ring.map(([lon, lat]) => [lon, lat]) : null;
}

/** A feature of an import: what it calls itself, and its polygons. */
export function outlineOf(feature: unknown, row: number, language: "zh" | "en"): Outline {
  const { id, properties, geometry } = (typeof feature === "object" && feature !== null ? feature : {}) as Record<string, unknown>;
  const said = (typeof properties === "object" && properties !== null ? properties : {}) as Record<string, unknown>;
  const text = (value: unknown): string => (typeof value === "string" ? value.trim() : "");
  const both = (typeof said["name"] === "object" && said["name"] !== null ? said["name"] : {}) as Record<string, unknown>;
  const names = { zh: text(said["name_zh"]) || text(both["zh"]) || text(said["name"]), en: text(said["name_en"]) || text(both["en"]) || text(said["name"]) };
  const key = text(said["id"]) || text(id);
  return { id: key === "" ? `#${row}` : key, name: names[language] || names.zh || names.en || key, polygons: polygonsOf(geometry) };
}

const EARTH_M = 6_371_008.8;

/** The area on the ground in square kilometres: exact enough for a town. */
export function areaKm2(polygons: readonly Polygon[]): number {
  const ring = (points: Ring): number => {
    const lat0 = ((points[0]?.[1] ?? 0) * Math.PI) / 180;
    let twice = 0;
    for (const [at, [lon, lat]] of points.entries()) {
      const [nextLon, nextLat] = points[(at + 1) % points.length] ?? [lon, lat];
      twice += lon * nextLat - nextLon * lat;
    }
    return (Math.abs(twice) / 2) * (Math.PI / 180) ** 2 * EARTH_M ** 2 * Math.cos(lat0);
  };
  const whole = polygons.reduce((sum, [outline, ...holes]) => sum + ring(outline ?? []) - holes.reduce((less, hole) => less + ring(hole), 0), 0);
  return whole / 1e6;
}

export interface Sheet {
  width: number;
  height: number;
  /** The path of an outline. */
  path: (polygons: readonly Polygon[]) => string;
  /** Where its name stands. */
  middle: (polygons: readonly Polygon[]) => [number, number];
}

/** A sheet of paper of this width on which all of them have room. */
export function sheetOf(outlines: readonly Outline[], width: number, most: number): Sheet {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { polygons } of outlines) {
    for (const [outline] of polygons) {
      for (const [lon, lat] of outline ?? []) {
        west = Math.min(west, lon);
        east = Math.max(east, lon);
        south = Math.min(south, lat);
        north = Math.max(north, lat);
      }
    }
  }
  if (west > east) [west, south, east, north] = [0, 0, 1, 1];
  const squeeze = Math.cos((((south + north) / 2) * Math.PI) / 180) || 1;
  const [wide, high] = [Math.max((east - west) * squeeze, 1e-9), Math.max(north - south, 1e-9)];
  const margin = 8;
  const scale = Math.min((width - 2 * margin) / wide, (most - 2 * margin) / high);
  const height = Math.max(high * scale + 2 * margin, 40);
  const left = (width - wide * scale) / 2;
  const at = ([lon, lat]: [number, number]): [number, number] => [left + (lon - west) * squeeze * scale, margin + (north - lat) * scale];
  const path = (polygons: readonly Polygon[]): string =>
    polygons.flatMap((rings) => rings.map((ring) => `M${ring.map((one) => at(one).map((n) => n.toFixed(1)).join(" ")).join("L")}Z`)).join("");
  const middle = (polygons: readonly Polygon[]): [number, number] => {
    const largest = [...polygons].sort((a, b) => areaKm2([b]) - areaKm2([a]))[0]?.[0] ?? [];
    // The centre of gravity, not of the corners: one side of many short pieces must not draw the name to itself.
    let [sum, x, y] = [0, 0, 0];
    const points = largest.map(at);
    for (const [n, [ax, ay]] of points.entries()) {
      const [bx, by] = points[(n + 1) % points.length] ?? [ax, ay];
      const cross = ax * by - bx * ay;
      sum += cross;
      x += (ax + bx) * cross;
      y += (ay + by) * cross;
    }
    return Math.abs(sum) < 1e-9 ? (points[0] ?? [0, 0]) : [x / (3 * sum), y / (3 * sum)];
  };
  return { width, height, path, middle };
}

/** How many there are by zone; those in none under the empty text. */
export function countByZone(zones: Iterable<string | number | null>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const zone of zones) {
    const key = String(zone ?? "");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}
