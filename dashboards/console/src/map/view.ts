/**
 * The live map. Assets are one static source whose displayed state is feature state; all that is abnormal lives in a small
 * second source that is replaced whole. Re-clustering or replacing the large source on live data costs 200-350 ms a time.
 */

import {
  Map as MapLibre,
  ScaleControl,
  setWorkerUrl,
  type GeoJSONSource,
  type LngLatBoundsLike,
  type MapGeoJSONFeature,
  type MapMouseEvent,
} from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
// As a file of our own, so that `worker-src 'self'` holds.
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import type { BaseMap } from "../api/types";
import type { Language } from "../i18n";
import type { Shown } from "../live/events";
import type { Filter } from "../town/select";
import type { Asset, Town } from "../town/town";
import { crowdsOf, LEAST_ZOOM } from "./clusters";
import { abnormalFeatures, chosenFeatures, isOnMap, lotFeatures, readingFeatures } from "./features";
import { drawIcons, PIXEL_RATIO } from "./icons";
import { buildStyle } from "./layers";
import { readPalette } from "./palette";

setWorkerUrl(workerUrl);

type PaintName = Parameters<MapLibre["setPaintProperty"]>[1];
type PaintValue = Parameters<MapLibre["setPaintProperty"]>[2];

/** Layers that answer a click, the topmost first. */
const CLICKABLE = ["abnormal", "stale", "crowd", "station", "lot", "manhole", "bay", "bay-area", "pipe", "lot-area"];
/** A finger or a tired hand misses by this many pixels. */
const CLICK_SLOP = 6;
/** Live state is put onto the map at this pace; a renderer without a graphics card gets a calmer one. */
const REPAINT_MS = 250;
const SOFTWARE_REPAINT_MS = 1_000;

export interface Show {
  town: Town;
  filter: Filter;
  chosen: Asset | undefined;
  language: Language;
}

export { default as MapTools } from "./MapTools.svelte";

export class TownMap {
  private readonly map: MapLibre;
  private want: Show | null = null;
  private drawn: Partial<Show> = {};
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly ground: BaseMap;
  private wantLanguage: Language;
  private readonly repaintMs: number;
  private ready = false;
  private fitted = false;

  constructor(
    host: HTMLElement,
    start: { center: [number, number]; zoom: number; language: Language; ground: BaseMap },
    private readonly onPick: (asset: number | null) => void,
    onReady: () => void,
  ) {
    this.ground = start.ground;
    this.wantLanguage = start.language;
    this.map = new MapLibre({
      container: host,
      style: buildStyle(readPalette(), start.language, this.ground, location.origin),
      center: start.center,
      zoom: start.zoom,
      minZoom: LEAST_ZOOM,
      maxZoom: 19,
      attributionControl: false,
      fadeDuration: 0,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      renderWorldCopies: false,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new ScaleControl({ maxWidth: 110 }), "bottom-left");
    this.repaintMs = rendersInSoftware(this.map) ? SOFTWARE_REPAINT_MS : REPAINT_MS;
    this.map.on("load", () => {
      this.drawIcons();
      this.ready = true;
      this.restyle(this.wantLanguage);
      this.draw();
      onReady();
    });
    this.map.on("click", (event) => {
      const found = this.featureAt(event);
      if (found?.layer.id === "crowd") this.map.easeTo({ center: event.lngLat, zoom: this.map.getZoom() + 1.5, duration: 300 });
      else this.onPick(numberOf(found));
    });
    this.map.on("mousemove", (event) => {
      this.map.getCanvas().style.cursor = this.featureAt(event) === null ? "" : "pointer";
    });
  }

  /** Shows the town as it is now, at the map's own pace; an alert or a choice does not wait for it. */
  show(want: Show): void {
    const urgent =
      want.town.alerts !== this.drawn.town?.alerts ||
      want.chosen !== this.drawn.chosen ||
      want.filter !== this.drawn.filter;
    this.want = want;
    if (urgent) this.draw();
    else this.timer ??= setTimeout(() => this.draw(), this.repaintMs);
  }

  /** Brings an asset into view, above the `covered` lowest pixels; moves only when it must. */
  locate(asset: Asset, covered = 0): void {
    const [lon, lat] = asset.anchor;
    const point = this.map.project([lon, lat]);
    const { clientWidth: width, clientHeight } = this.map.getContainer();
    const height = clientHeight - covered;
    const margin = Math.min(90, width / 4, height / 4);
    const inView = point.x > margin && point.x < width - margin && point.y > margin && point.y < height - margin;
    const zoom = asset.kind === "parking-bay" ? Math.max(17, this.map.getZoom()) : this.map.getZoom();
    if (!inView || zoom !== this.map.getZoom()) {
      this.map.easeTo({ center: [lon, lat], zoom, offset: [0, -covered / 2], duration: 300 });
    }
  }

  /** Calls with the place under the pointer, in the ground's coordinates, and with nothing when it leaves. */
  onPointer(call: (at: [number, number] | null) => void): void {
    this.map.on("mousemove", ({ lngLat }) => call([lngLat.lng, lngLat.lat]));
    this.map.on("mouseout", () => call(null));
  }

  /** Calls when the map has come to rest after a move; the answer ends it. */
  onMoved(call: () => void): () => void {
    this.map.on("moveend", call);
    return () => this.map.off("moveend", call);
  }

  /** West, south, east, north of what is in sight. */
  seen(): [number, number, number, number] {
    const bounds = this.map.getBounds();
    return [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  }

  zoom(by: 1 | -1): void {
    this.map.zoomTo(this.map.getZoom() + by, { duration: 200 });
  }

  /** Shows all assets. */
  fit(animate = true): void {
    const bounds = boundsOf([...(this.want?.town.assets.values() ?? [])]);
    if (bounds !== null) this.map.fitBounds(bounds, { padding: 48, maxZoom: 16, animate, duration: 300 });
  }

  /** Takes the colours of the theme that is on now, and the language of the labels. */
  restyle(language: Language): void {
    if (!this.ready) {
      // A style that is replaced while it loads begins anew: what has changed meanwhile is put on when it is there.
      this.wantLanguage = language;
      return;
    }
    const style = buildStyle(readPalette(), language, this.ground, location.origin);
    this.drawIcons();
    for (const layer of style.layers) {
      for (const [name, value] of Object.entries(layer.paint ?? {})) {
        this.map.setPaintProperty(layer.id, name as PaintName, value as PaintValue);
      }
      if (layer.type === "symbol" && layer.layout?.["text-field"] !== undefined) {
        this.map.setLayoutProperty(layer.id, "text-field", layer.layout["text-field"]);
      }
    }
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.map.remove();
  }

  private drawIcons(): void {
    for (const [name, image] of drawIcons(readPalette())) {
      if (this.map.hasImage(name)) this.map.updateImage(name, image);
      else this.map.addImage(name, image, { pixelRatio: PIXEL_RATIO });
    }
  }

  private draw(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { want, drawn } = this;
    if (!this.ready || want === null) return;
    const { town, filter, chosen, language } = want;
    const before = drawn.filter;
    const moved =
      town.assets !== drawn.town?.assets ||
      filter.families !== before?.families ||
      filter.kinds !== before.kinds ||
      filter.zones !== before.zones;
    if (moved) this.replaceAssets(town, filter);
    if (moved || town.shown !== drawn.town?.shown) this.drawStates(town, moved ? undefined : drawn.town?.shown);
    if (moved || town.shown !== drawn.town?.shown || filter !== drawn.filter || language !== drawn.language) {
      this.source("abnormal").setData(abnormalFeatures(town, filter, language));
      this.source("lots").setData(lotFeatures(town, filter));
    }
    if (moved || town.values !== drawn.town?.values || town.shown !== drawn.town?.shown || language !== drawn.language) {
      this.source("readings").setData(readingFeatures(town, filter, language));
    }
    if (chosen !== drawn.chosen) this.source("chosen").setData(chosenFeatures(chosen));
    this.drawn = want;
  }

  private replaceAssets(town: Town, filter: Filter): void {
    const assets = [...town.assets.values()].filter((asset) => isOnMap(asset, filter));
    const crowds = crowdsOf(assets);
    this.source("crowds").setData(crowds.marks);
    const features = assets
      // Only what the layers read: the worker copies every property.
      .map(({ number, kind, feature }) => ({
        type: "Feature" as const,
        id: number,
        geometry: feature.geometry,
        properties: { asset: number, kind, ...(crowds.from.has(number) ? { from: crowds.from.get(number) } : {}) },
      }));
    this.source("assets").setData({ type: "FeatureCollection", features });
    if (!this.fitted && town.assets.size > 0) {
      this.fitted = true;
      this.fit(false);
    }
  }

  private drawStates(town: Town, before: ReadonlyMap<number, Shown> | undefined): void {
    for (const [id, shown] of town.shown) {
      if (shown === before?.get(id)) continue;
      const { severity, freshness, state } = shown;
      this.map.setFeatureState({ source: "assets", id }, { severity, freshness, state: state ?? -1 });
    }
  }

  private source(name: string): GeoJSONSource {
    return this.map.getSource(name) as GeoJSONSource;
  }

  private featureAt({ point }: MapMouseEvent): MapGeoJSONFeature | null {
    if (!this.ready) return null;
    const found = this.map.queryRenderedFeatures(
      [
        [point.x - CLICK_SLOP, point.y - CLICK_SLOP],
        [point.x + CLICK_SLOP, point.y + CLICK_SLOP],
      ],
      { layers: CLICKABLE },
    );
    return found[0] ?? null;
  }
}

function numberOf(found: MapGeoJSONFeature | null): number | null {
  const asset: unknown = found?.properties.asset;
  return typeof asset === "number" ? asset : null;
}

function boundsOf(assets: readonly Asset[]): LngLatBoundsLike | null {
  if (assets.length === 0) return null;
  const lons = assets.map(({ anchor }) => anchor[0]);
  const lats = assets.map(({ anchor }) => anchor[1]);
  const span = (values: number[]): [number, number] => [
    values.reduce((a, b) => Math.min(a, b)),
    values.reduce((a, b) => Math.max(a, b)),
  ];
  const [west, east] = span(lons);
  const [south, north] = span(lats);
  return [west, south, east, north];
}

/** Whether the graphics are computed by the processor, as on a remote desktop. */
function rendersInSoftware(map: MapLibre): boolean {
  const gl = map.getCanvas().getContext("webgl2");
  const info = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = gl && info ? String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)) : "";
  return /swiftshader|llvmpipe|software/i.test(name);
}

/** Whether this browser can draw the map at all. */
export function canDrawMap(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}
