/** The map's style as data: sources, layers, and which of their colours follow the theme. No glyph server, no host. */

import type { FeatureCollection } from "geojson";
import type {
  ExpressionSpecification,
  LayerSpecification,
  StyleSpecification,
  SymbolLayerSpecification,
} from "maplibre-gl";
import type { BaseMap } from "../api/types";
import type { Language } from "../i18n";
import { groundLayers, groundSources } from "./ground";
import type { Palette } from "./palette";

/** Local fonts: MapLibre draws every letter itself when a style names no glyphs. */
export const FONT = ["Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", "sans-serif"];
const FONT_BOLD = FONT.map((name) => `${name} Bold`).slice(0, 1).concat(FONT);

/** From this zoom on every bay is drawn; further out its car park speaks for it. */
export const BAY_ZOOM = 15.5;

/** From this zoom on a pipe shows which way it flows. */
export const FLOW_ZOOM = 14.5;

const EMPTY: FeatureCollection = { type: "FeatureCollection", features: [] };

/** What stands in a crowd at this zoom is not drawn by itself. A filter sees whole zooms, as crowds do. */
const ALONE: ExpressionSpecification = ["<=", ["coalesce", ["get", "from"], 0], ["zoom"]];

const is = (kind: string): ExpressionSpecification => ["==", ["get", "kind"], kind];
const layerIs = (name: string): ExpressionSpecification => ["==", ["get", "layer"], name];
const byZoom = (...stops: number[]): ExpressionSpecification =>
  ["interpolate", ["exponential", 1.6], ["zoom"], ...stops] as ExpressionSpecification;

/** What is old or was never heard is dim. */
const dimmed = (alpha: number): ExpressionSpecification => [
  "case",
  ["==", ["coalesce", ["feature-state", "freshness"], "fresh"], "fresh"],
  1,
  alpha,
];

/** The colour of an open alert on the asset itself; grey without one. */
function bySeverity(palette: Palette, quiet: string): ExpressionSpecification {
  return [
    "match",
    ["coalesce", ["feature-state", "severity"], 0],
    1,
    palette.critical,
    2,
    palette.major,
    3,
    palette.minor,
    4,
    palette.info,
    quiet,
  ];
}

const nameIn = (language: Language): ExpressionSpecification => ["coalesce", ["get", language], ""];

/** The whole style. */
export function buildStyle(palette: Palette, language: Language, ground: BaseMap, origin: string): StyleSpecification {
  return {
    version: 8,
    sources: {
      ...groundSources(ground, origin),
      assets: { type: "geojson", data: EMPTY },
      crowds: { type: "geojson", data: EMPTY },
      lots: { type: "geojson", data: EMPTY },
      readings: { type: "geojson", data: EMPTY },
      abnormal: { type: "geojson", data: EMPTY },
      chosen: { type: "geojson", data: EMPTY },
    },
    layers: [...groundLayers(ground, palette, language), ...assetLayers(palette), ...topLayers(palette)],
  };
}

/** The schematic, and any GeoJSON whose features say in `layer` what they are. */
export function schematicLayers(palette: Palette, language: Language): LayerSpecification[] {
  const source = "basemap";
  const roadWidth = (case_: number): ExpressionSpecification => [
    "interpolate",
    ["exponential", 1.6],
    ["zoom"],
    12,
    ["match", ["get", "rank"], 1, 2 + case_, 2, 1 + case_, 0.4 + case_ / 2],
    17,
    ["match", ["get", "rank"], 1, 18 + case_, 2, 11 + case_, 5 + case_],
  ];
  return [
    { id: "land", type: "background", paint: { "background-color": palette["map-land"] } },
    { id: "built", type: "fill", source, filter: layerIs("built"), paint: { "fill-color": palette["map-built"] } },
    { id: "scenic", type: "fill", source, filter: layerIs("scenic"), paint: { "fill-color": palette["map-scenic"] } },
    {
      id: "scenic-line",
      type: "line",
      source,
      filter: layerIs("scenic"),
      paint: { "line-color": palette["map-scenic-line"], "line-width": 1.25, "line-dasharray": [4, 3] },
    },
    { id: "lake", type: "fill", source, filter: layerIs("lake"), paint: { "fill-color": palette["map-water"] } },
    {
      id: "canal",
      type: "line",
      source,
      filter: layerIs("canal"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-color": palette["map-water"],
        "line-width": [
          "interpolate",
          ["exponential", 1.6],
          ["zoom"],
          12,
          ["match", ["get", "rank"], 1, 7, 2, 4, 2],
          17,
          ["match", ["get", "rank"], 1, 70, 2, 34, 16],
        ],
      },
    },
    {
      id: "road-case",
      type: "line",
      source,
      filter: layerIs("road"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": palette["map-road-case"], "line-width": roadWidth(1.5) },
    },
    {
      id: "road",
      type: "line",
      source,
      filter: layerIs("road"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": palette["map-road"], "line-width": roadWidth(0) },
    },
    lineLabel("road-label", "road", palette["map-label"], palette, language, 13.2),
    lineLabel("canal-label", "canal", palette["map-water-label"], palette, language, 12),
    {
      id: "place-label",
      type: "symbol",
      source,
      filter: ["in", ["get", "layer"], ["literal", ["scenic-label", "place"]]],
      layout: {
        "text-field": nameIn(language),
        "text-font": FONT,
        "text-size": ["match", ["get", "layer"], "scenic-label", 15, 12],
        "text-letter-spacing": 0.08,
        "text-padding": 4,
        "text-variable-anchor": ["center", "bottom", "top"],
        "text-radial-offset": 1,
      },
      paint: labelPaint(palette["map-label"], palette),
    },
  ];
}

function lineLabel(
  id: string,
  layer: string,
  colour: string,
  palette: Palette,
  language: Language,
  minzoom: number,
): SymbolLayerSpecification {
  return {
    id,
    type: "symbol",
    source: "basemap",
    minzoom,
    filter: ["all", layerIs(layer), ["<=", ["coalesce", ["get", "rank"], 1], 2]],
    layout: {
      "symbol-placement": "line",
      "symbol-spacing": 420,
      "text-field": nameIn(language),
      "text-font": FONT,
      "text-size": 12,
      "text-letter-spacing": 0.06,
      "text-padding": 12,
      "text-max-angle": 30,
      // Pipes follow the streets: a name on the middle of its street would be crossed out.
      "text-offset": [0, layer === "road" ? 1.05 : 0],
    },
    paint: labelPaint(colour, palette),
  };
}

export function labelPaint(colour: string, palette: Palette): NonNullable<SymbolLayerSpecification["paint"]> {
  return { "text-color": colour, "text-halo-color": palette["map-halo"], "text-halo-width": 1.5 };
}

function assetLayers(palette: Palette): LayerSpecification[] {
  const source = "assets";
  const quiet = palette["map-asset"];
  return [
    {
      id: "lot-area",
      type: "fill",
      source,
      filter: ["all", is("parking-lot"), ["==", ["geometry-type"], "Polygon"]],
      paint: { "fill-color": quiet, "fill-opacity": 0.16 },
    },
    // A pipe with an alert is seen from afar; a quiet one is a hair line.
    {
      id: "pipe",
      type: "line",
      source,
      filter: is("pipe"),
      layout: { "line-cap": "round" },
      paint: {
        "line-color": bySeverity(palette, palette["map-pipe"]),
        "line-width": [
          "interpolate",
          ["linear"],
          ["zoom"],
          12,
          ["case", [">", ["coalesce", ["feature-state", "severity"], 0], 0], 3.5, 1],
          16,
          ["case", [">", ["coalesce", ["feature-state", "severity"], 0], 0], 6, 2.5],
        ],
        "line-opacity": dimmed(0.45),
      },
    },
    // A pipe's line runs from its upper end down; near, arrows say so.
    {
      id: "flow",
      type: "symbol",
      source,
      minzoom: FLOW_ZOOM,
      filter: ["all", is("pipe"), ["==", ["geometry-type"], "LineString"]],
      layout: {
        "symbol-placement": "line",
        "symbol-spacing": 90,
        "icon-image": "flow",
        "icon-size": ["interpolate", ["linear"], ["zoom"], FLOW_ZOOM, 0.6, 17, 1],
        "icon-allow-overlap": true,
        "icon-padding": 0,
      },
    },
    {
      id: "bay-area",
      type: "fill",
      source,
      minzoom: BAY_ZOOM,
      filter: ["all", is("parking-bay"), ["==", ["geometry-type"], "Polygon"]],
      paint: bayPaint(palette, "fill") as { "fill-color": ExpressionSpecification },
    },
    {
      id: "bay",
      type: "circle",
      source,
      minzoom: BAY_ZOOM,
      filter: ["all", is("parking-bay"), ["==", ["geometry-type"], "Point"]],
      paint: {
        ...(bayPaint(palette, "circle") as { "circle-color": ExpressionSpecification }),
        "circle-radius": byZoom(15.5, 2, 17, 3.4, 19, 11),
        "circle-stroke-color": quiet,
        "circle-stroke-width": 1,
        "circle-stroke-opacity": dimmed(0.45),
      },
    },
    {
      id: "manhole",
      type: "circle",
      source,
      filter: ["all", is("manhole"), ALONE],
      paint: {
        "circle-radius": byZoom(12, 1.5, 14, 3, 17, 7),
        "circle-color": palette["map-asset-fill"],
        "circle-stroke-color": quiet,
        "circle-stroke-width": byZoom(12, 1, 17, 2),
        "circle-opacity": dimmed(0.5),
        "circle-stroke-opacity": dimmed(0.5),
      },
    },
    {
      id: "station",
      type: "symbol",
      source,
      filter: ["all", ["in", ["get", "kind"], ["literal", ["sluice-gate", "canal-gauge", "rain-gauge"]]], ALONE],
      layout: {
        "icon-image": ["get", "kind"],
        "icon-size": byZoom(12, 0.6, 15, 0.95),
        "icon-allow-overlap": true,
      },
      paint: { "icon-opacity": dimmed(0.5) },
    },
  ];
}

/** Taken bays are full, free ones empty; what is not known is neither. */
function bayPaint(palette: Palette, prefix: "fill" | "circle"): Record<string, ExpressionSpecification> {
  return {
    [`${prefix}-color`]: [
      "case",
      ["==", ["coalesce", ["feature-state", "state"], -1], 0],
      palette["map-asset-fill"],
      ["==", ["coalesce", ["feature-state", "state"], -1], -1],
      palette["map-land"],
      palette["map-asset"],
    ],
    [`${prefix}-opacity`]: dimmed(0.4),
  };
}

function topLayers(palette: Palette): LayerSpecification[] {
  return [
    // Grey and hollow: a crowd says how many, never how bad.
    {
      id: "crowd",
      type: "circle",
      source: "crowds",
      maxzoom: 16,
      filter: ["==", ["get", "zoom"], ["floor", ["zoom"]]],
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["get", "count"], 25, 12, 1000, 22],
        "circle-color": palette["map-asset-fill"],
        "circle-opacity": 0.85,
        "circle-stroke-color": palette["map-asset"],
        "circle-stroke-width": 1.25,
      },
    },
    {
      id: "crowd-count",
      type: "symbol",
      source: "crowds",
      maxzoom: 16,
      filter: ["==", ["get", "zoom"], ["floor", ["zoom"]]],
      layout: {
        "text-field": ["get", "text"],
        "text-font": FONT,
        "text-size": 12,
        "text-allow-overlap": true,
      },
      paint: { "text-color": palette["map-text"] },
    },
    {
      id: "reading",
      type: "symbol",
      source: "readings",
      minzoom: 13,
      layout: {
        "text-field": ["get", "text"],
        "text-font": FONT,
        "text-size": 12,
        "text-anchor": "left",
        "text-offset": [1.15, 0],
        "text-optional": true,
      },
      paint: labelPaint(palette["map-text"], palette),
    },
    {
      id: "lot",
      type: "symbol",
      source: "lots",
      maxzoom: 18,
      layout: {
        "icon-image": "parking-lot",
        "icon-size": byZoom(12, 0.7, 15, 0.95),
        "icon-allow-overlap": true,
        "text-field": ["get", "text"],
        "text-font": FONT,
        "text-size": 12,
        "text-anchor": "left",
        "text-offset": [1.15, 0],
        "text-optional": true,
      },
      paint: { ...labelPaint(palette["map-text"], palette), "text-opacity": ["get", "alpha"] },
    },
    {
      id: "chosen",
      type: "circle",
      source: "chosen",
      paint: {
        "circle-radius": 18,
        "circle-color": "rgba(0,0,0,0)",
        "circle-stroke-color": palette.ink,
        "circle-stroke-width": 2.5,
      },
    },
    {
      id: "stale",
      type: "symbol",
      source: "abnormal",
      filter: ["==", ["get", "icon"], "stale"],
      layout: {
        "icon-image": "stale",
        "icon-size": ["interpolate", ["linear"], ["zoom"], 12, 0.5, 16, 0.85],
        "icon-allow-overlap": true,
      },
    },
    // Layers are placed from the top down: the marks first, then the names where marks and worse names leave room.
    {
      id: "abnormal-label",
      type: "symbol",
      source: "abnormal",
      minzoom: 13,
      filter: ["!=", ["get", "icon"], "stale"],
      layout: {
        "symbol-sort-key": ["-", 0, ["get", "order"]],
        "text-field": ["get", "text"],
        "text-font": FONT_BOLD,
        "text-size": 12,
        "text-variable-anchor": ["top", "bottom", "left", "right"],
        "text-radial-offset": 1.7,
        "text-justify": "auto",
        "text-max-width": 12,
      },
      paint: { ...labelPaint(palette["map-text"], palette), "text-halo-width": 2 },
    },
    {
      id: "abnormal",
      type: "symbol",
      source: "abnormal",
      filter: ["!=", ["get", "icon"], "stale"],
      layout: {
        "icon-image": ["get", "icon"],
        "icon-allow-overlap": true,
        "icon-padding": 0,
        // The worst lies on top: a larger key is drawn later.
        "symbol-sort-key": ["get", "order"],
      },
    },
  ];
}
