/** Small building blocks for the unit tests. */

import type { Alert, AssetFeature, Case, MapAnswer } from "../../src/api/types";
import { EMPTY_TOWN, fromSnapshot, type Town } from "../../src/town/town";

export const NOW = Date.parse("2026-07-01T08:00:00Z");

export function alert(id: number, more: Partial<Alert> = {}): Alert {
  return {
    id, version: 1, device: `dev-${id}`, metric: "sewer.level", name: "high", kind: "limit", asset: `MH-${id}`,
    asset_number: id, severity: "minor", text: { zh: "水位偏高", en: "High level" }, value: 2, peak: 2, limit: 1.6,
    clear: 1.5, unit: "m", active: true, since: "2026-07-01T07:00:00Z", raised_at: "2026-07-01T07:00:00Z",
    acknowledged_at: null, acknowledged_by: null, note: null, cleared_at: null, ...more,
  };
}

export function feature(id: number, more: Partial<AssetFeature["properties"]> = {}): AssetFeature {
  return {
    type: "Feature",
    id,
    geometry: { type: "Point", coordinates: [120.48 + id / 1000, 30.74] },
    properties: {
      asset: `MH-${id}`, kind: "manhole", family: "pipes", name: { zh: `${id}号井`, en: `Manhole ${id}` }, zone: null,
      parent: null, severity: 0, acknowledged: false, freshness: "fresh", grade: "good", state: null, headline: null,
      ...more,
    },
  };
}

export function mapOf(features: AssetFeature[], seq = 10, epoch = 3): MapAnswer {
  return { type: "FeatureCollection", features, townhub: { epoch, seq, at: "2026-07-01T08:00:05Z" } };
}

export function townOf(features: AssetFeature[], alerts: Alert[] = [], cases: Case[] = []): Town {
  return fromSnapshot(mapOf(features), alerts, cases, EMPTY_TOWN, NOW);
}

export function caseOf(id: number, more: Partial<Case> = {}): Case {
  return {
    id, version: 1, asset: `MH-${id}`, kind: "manhole", zone: "wuzhen", device: `dev-${id}`,
    title: { zh: "水位偏高", en: "High level" }, severity: "major", stage: "opened", alerts: [id],
    opened_at: "2026-07-01T07:00:00Z", opened_by: null, deadlines: null, arrived_at: null, reported_at: null,
    closed_at: null, overdue: null, escalation: 0, reopens: null, reopened_as: null, ...more,
  };
}
