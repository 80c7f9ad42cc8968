/**
 * The ground as style: the schematic, a GeoJSON file, pictures or vector tiles. It stays quiet whatever it is, so that colour
 * still means "look here"; every address is the hub's own.
 */

import type { ExpressionSpecification, LayerSpecification, SourceSpecification } from "maplibre-gl";
import type { BaseMap } from "../api/types";
import type { Language } from "../i18n";
import { FONT, labelPaint, schematicLayers } from "./layers";
import type { Palette } from "./palette";

const DRAWING = "/assets/basemap.json";

/** Where each part of the ground comes from. `origin` because a worker has no page to complete an address from. */
export function groundSources(ground: BaseMap, origin: string): Record<string, SourceSpecification> {
  if (ground.kind === "schematic" || ground.kind === "geojson") {
    return { basemap: { type: "geojson", data: ground.data ?? DRAWING } };
  }
  const common = {
    minzoom: ground.min_zoom,
    maxzoom: ground.max_zoom,
    ...(ground.bounds === null ? {} : { bounds: ground.bounds }),
  };
  const tilesOf = (layer: string): string[] => [origin + (ground.tiles ?? "").replace("{layer}", layer)];
  if (ground.kind === "vector") return { basemap: { type: "vector", tiles: tilesOf("base"), ...common } };
  return Object.fromEntries(
    ground.layers.map((layer) => [
      `ground-${layer}`,
      { type: "raster" as const, tiles: tilesOf(layer), tileSize: 256, ...common },
    ]),
  );
}

/** How the ground is drawn, the lowest layer first. */
export function groundLayers(ground: BaseMap, palette: Palette, language: Language): LayerSpecification[] {
  switch (ground.kind) {
    case "schematic":
      return schematicLayers(palette, language);
    case "geojson":
      return [...plainLayers(palette), ...schematicLayers(palette, language).slice(1)];
    case "raster":
      return [land(palette), ...ground.layers.map((layer) => picture(layer, palette))];
    case "vector":
      return [land(palette), ...vectorLayers(palette, language, new Set(ground.parts))];
  }
}

function land(palette: Palette): LayerSpecification {
  return { id: "land", type: "background", paint: { "background-color": palette["map-land"] } };
}

/** Features of a file that name no layer of ours: outlines as built-up land, lines as roads. */
function plainLayers(palette: Palette): LayerSpecification[] {
  const isPlain: ExpressionSpecification = ["!", ["has", "layer"]];
  return [
    land(palette),
    {
      id: "plain-area",
      type: "fill",
      source: "basemap",
      filter: ["all", isPlain, ["==", ["geometry-type"], "Polygon"]],
      paint: { "fill-color": palette["map-built"], "fill-outline-color": palette["map-road-case"] },
    },
    {
      id: "plain-line",
      type: "line",
      source: "basemap",
      filter: ["all", isPlain, ["==", ["geometry-type"], "LineString"]],
      paint: { "line-color": palette["map-road-case"], "line-width": 1.5 },
    },
  ];
}

/** Pictures keep their drawing and lose most of their colour; on the dark theme they are dimmed too. */
function picture(layer: string, palette: Palette): LayerSpecification {
  const dark = isDark(palette["map-land"]);
  return {
    id: `ground-${layer}`,
    type: "raster",
    source: `ground-${layer}`,
    paint: {
      "raster-saturation": -0.75,
      "raster-contrast": dark ? 0 : -0.15,
      "raster-brightness-max": dark ? 0.5 : 1,
      "raster-fade-duration": 0,
    },
  };
}

/** Whether a colour written as `#rrggbb` is dark. */
export function isDark(colour: string): boolean {
  const value = Number.parseInt(colour.slice(1), 16);
  return colour.length === 7 && (value >> 16) + ((value >> 8) & 255) + (value & 255) < 3 * 110;
}

/** The layers that the two common schemes of vector tiles name (Protomaps, OpenMapTiles); what an archive lacks is left out. */
function vectorLayers(palette: Palette, language: Language, parts: ReadonlySet<string>): LayerSpecification[] {
  const area = (id: string, part: string, colour: string): LayerSpecification => ({
    id, type: "fill", source: "basemap", "source-layer": part,
    filter: ["==", ["geometry-type"], "Polygon"],
    paint: { "fill-color": colour },
  });
  const line = (id: string, part: string, colour: string, width: [number, number], minzoom = 0): LayerSpecification => ({
    id, type: "line", source: "basemap", "source-layer": part, minzoom,
    filter: ["==", ["geometry-type"], "LineString"],
    layout: { "line-cap": "round", "line-join": "round" },
    paint: { "line-color": colour, "line-width": ["interpolate", ["exponential", 1.6], ["zoom"], 11, width[0], 17, width[1]] },
  });
  const names = (id: string, part: string, colour: string, along: boolean, minzoom: number): LayerSpecification => ({
    id, type: "symbol", source: "basemap", "source-layer": part, minzoom,
    layout: {
      "symbol-placement": along ? "line" : "point",
      "text-field": nameOf(language), "text-font": FONT, "text-size": 12, "text-padding": 8,
    },
    paint: labelPaint(colour, palette),
  });
  const all: LayerSpecification[] = [
    area("earth", "earth", palette["map-land"]),
    area("landcover", "landcover", palette["map-land"]),
    area("landuse", "landuse", palette["map-built"]),
    area("water", "water", palette["map-water"]),
    line("water-line", "water", palette["map-water"], [0.6, 6]),
    line("waterway", "waterway", palette["map-water"], [0.6, 6]),
    area("buildings", "buildings", palette["map-road-case"]),
    area("building", "building", palette["map-road-case"]),
    line("roads-case", "roads", palette["map-road-case"], [1, 11]),
    line("roads", "roads", palette["map-road"], [0.5, 9]),
    line("transportation-case", "transportation", palette["map-road-case"], [1, 11]),
    line("transportation", "transportation", palette["map-road"], [0.5, 9]),
    names("road-names", "roads", palette["map-label"], true, 14),
    names("transportation-names", "transportation_name", palette["map-label"], true, 14),
    names("water-names", "water_name", palette["map-water-label"], true, 12),
    names("place-names", "places", palette["map-label"], false, 0),
    names("place-name", "place", palette["map-label"], false, 0),
  ];
  const known = (layer: LayerSpecification): boolean => "source-layer" in layer && parts.has(String(layer["source-layer"]));
  return parts.size === 0 ? all : all.filter(known);
}

function nameOf(language: Language): ExpressionSpecification {
  return language === "zh"
    ? ["coalesce", ["get", "name:zh-Hans"], ["get", "name:zh"], ["get", "name"], ""]
    : ["coalesce", ["get", "name:en"], ["get", "name_en"], ["get", "name"], ""];
}
