/** The map's small sources, made from the town. Pure. */

import type { Feature, FeatureCollection, Point } from "geojson";
import { labelText, valueText } from "../format";
import type { Language } from "../i18n";
import { FOLLOWED } from "../town/ground";
import { isAmong, lotCounts, lotText, type Filter } from "../town/select";
import { pointKey, type Asset, type Town } from "../town/town";
import { severityIcon } from "./icons";

type Collection = FeatureCollection<Point>;

const collection = (features: Feature<Point>[]): Collection => ({ type: "FeatureCollection", features });

function at(asset: Asset, properties: Record<string, string | number>): Feature<Point> {
  return { type: "Feature", geometry: { type: "Point", coordinates: asset.anchor }, properties };
}

/** What the filter lets onto the map: families, kinds and zones hide assets, severities only narrow what is abnormal. */
export function isOnMap(asset: Asset, filter: Filter): boolean {
  return isAmong(filter, asset);
}

/** All that is abnormal: one mark per asset with an open alert, and a hatch on what is old. Never clustered. */
export function abnormalFeatures(town: Town, filter: Filter, language: Language): Collection {
  const features: Feature<Point>[] = [];
  for (const [number, shown] of town.shown) {
    const asset = town.assets.get(number);
    if (asset === undefined || !isOnMap(asset, filter)) continue;
    const { severity, acknowledged, freshness } = shown;
    if (severity !== 0 && passesSeverity(filter, severity, acknowledged)) {
      const order = 10 * (5 - severity) + (acknowledged ? 0 : 5);
      const icon = severityIcon(severity, acknowledged);
      features.push(at(asset, { asset: number, icon, order, text: labelText(asset.name, language) }));
    } else if (severity === 0 && freshness !== "fresh" && asset.family !== "parking") {
      // Silent bays are dimmed, not hatched: their marks would be larger than they are.
      features.push(at(asset, { asset: number, icon: "stale", order: 0, text: "" }));
    }
  }
  return collection(features);
}

function passesSeverity(filter: Filter, severity: 1 | 2 | 3 | 4, acknowledged: boolean): boolean {
  return (
    (filter.ranks.size === 0 || filter.ranks.has(severity)) && !(filter.unacknowledgedOnly && acknowledged)
  );
}

/** Car parks with their free bays. */
export function lotFeatures(town: Town, filter: Filter): Collection {
  const counts = lotCounts(town);
  const features: Feature<Point>[] = [];
  for (const asset of town.assets.values()) {
    if (asset.kind !== "parking-lot" || !isOnMap(asset, filter)) continue;
    const count = counts.get(asset.number);
    const text = count === undefined ? "" : lotText(count);
    features.push(at(asset, { asset: asset.number, text, alpha: 1 }));
  }
  return collection(features);
}

/** Gates with their opening, canal and rain gauges with their value: what stands for each of them, where it is fresh. */
export function readingFeatures(town: Town, filter: Filter, language: Language): Collection {
  const features: Feature<Point>[] = [];
  for (const asset of town.assets.values()) {
    const headline = asset.feature.properties.headline;
    if (!FOLLOWED.has(asset.kind) || headline === null || !isOnMap(asset, filter)) continue;
    const shown = town.shown.get(asset.number);
    if (shown?.freshness !== "fresh" || shown.grade === "bad") continue;
    // A town of the past has no position, and its snapshot's value is not of that time.
    const known = town.values.get(pointKey(headline.device, headline.metric));
    const value = known?.value ?? (town.position === null ? null : headline.value);
    if (value !== null) features.push(at(asset, { asset: asset.number, text: valueText(value, headline.unit, language) }));
  }
  return collection(features);
}

/** The ring around the chosen asset. */
export function chosenFeatures(asset: Asset | undefined): Collection {
  return collection(asset === undefined ? [] : [at(asset, { asset: asset.number })]);
}
