/** A town for the console's tests: the same on every run, laid out over Wuzhen, with a handful of alerts. */

import type {
  Alert,
  AssetDetail,
  AssetFeature,
  AssetProperties,
  Bucket,
  Device,
  Grade,
  Kind,
  Label,
  Point,
  SeverityName,
  Standing,
} from "../../src/api/types";

const FAMILY: Record<Kind, AssetProperties["family"]> = {
  manhole: "pipes",
  pipe: "pipes",
  "rain-gauge": "pipes",
  "canal-gauge": "gates",
  "sluice-gate": "gates",
  "parking-bay": "parking",
  "parking-lot": "parking",
};

/** A small seeded generator (mulberry32): figures look alive and never change. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const label = (zh: string, en: string): Label => ({ zh, en });

export interface MockTown {
  features: AssetFeature[];
  alerts: Alert[];
}

/** Streets with their pipes: name, then corners as (lat, lon). */
const STREETS: [string, string, [number, number][]][] = [
  ["新华路", "Xinhua Rd", [[30.7409, 120.47], [30.7404, 120.479], [30.7403, 120.4852], [30.7402, 120.493], [30.7396, 120.503]]],
  ["子夜路", "Ziye Rd", [[30.7352, 120.477], [30.7348, 120.4855], [30.7343, 120.495], [30.7337, 120.503]]],
  ["隆源路", "Longyuan Rd", [[30.758, 120.4896], [30.748, 120.4893], [30.7402, 120.4897], [30.733, 120.4905]]],
  ["虹桥路", "Hongqiao Rd", [[30.757, 120.4814], [30.7492, 120.4813], [30.7403, 120.4806]]],
  ["环河路", "Huanhe Rd", [[30.7549, 120.468], [30.7553, 120.476], [30.754, 120.4838]]],
  ["西栅大街", "Xizha St", [[30.7471, 120.4665], [30.7473, 120.474], [30.7466, 120.4812]]],
  ["东大街", "East St", [[30.7452, 120.4872], [30.7451, 120.493], [30.7449, 120.4995]]],
];

const GATES: [string, string, number, number][] = [
  ["望津桥闸", "Wangjin Bridge Gate", 30.74865, 120.4648],
  ["分水墩闸", "Fenshuidun Gate", 30.7614, 120.48512],
  ["三里塘闸", "Sanlitang Gate", 30.74416, 120.5005],
  ["浮澜桥闸", "Fulan Bridge Gate", 30.7296, 120.486],
  ["通济桥堰", "Tongji Bridge Weir", 30.74795, 120.4815],
  ["应家桥堰", "Yingjia Bridge Weir", 30.74478, 120.488],
];

const GAUGES: [string, string, number, number][] = [
  ["西市河水位站", "Xishi River Gauge", 30.74835, 120.4735],
  ["东市河水位站", "Dongshi River Gauge", 30.74428, 120.4965],
  ["车溪南水位站", "Chexi South Gauge", 30.7385, 120.48567],
  ["运河水位站", "Grand Canal Gauge", 30.7565, 120.467],
];

const RAIN: [string, string, number, number][] = [
  ["西栅雨量站", "Xizha Rain Gauge", 30.7515, 120.4785],
  ["镇政府雨量站", "Town Hall Rain Gauge", 30.7382, 120.4935],
];

const LOTS: [string, string, number, number][] = [
  ["西栅一号停车场", "Xizha Car Park 1", 30.7444, 120.4722],
  ["西栅二号停车场", "Xizha Car Park 2", 30.7563, 120.4722],
  ["东栅停车场", "Dongzha Car Park", 30.7478, 120.4975],
  ["汽车站停车场", "Bus Station Car Park", 30.7372, 120.498],
  ["新华路停车场", "Xinhua Rd Car Park", 30.7388, 120.4765],
];

const BAYS_PER_LOT = 80;

class Builder {
  readonly features: AssetFeature[] = [];
  private next = 1;

  add(
    kind: Kind,
    name: Label,
    geometry: AssetFeature["geometry"],
    more: { id?: string; parent?: string; state?: number } = {},
  ): number {
    const id = this.next++;
    this.features.push({
      type: "Feature",
      id,
      geometry,
      properties: {
        asset: more.id ?? `${kind.toUpperCase().slice(0, 2)}-${String(id).padStart(3, "0")}`,
        kind,
        family: FAMILY[kind],
        name,
        zone: "wuzhen",
        parent: more.parent ?? null,
        severity: 0,
        acknowledged: false,
        freshness: "fresh",
        grade: "good",
        state: more.state ?? null,
        headline: null,
      },
    });
    return id;
  }
}

function along(corners: [number, number][], share: number): [number, number] {
  const at = share * (corners.length - 1);
  const i = Math.min(corners.length - 2, Math.floor(at));
  const [a, b]: [[number, number], [number, number]] = [corners[i] ?? [0, 0], corners[i + 1] ?? [0, 0]];
  const t = at - i;
  return [a[1] + (b[1] - a[1]) * t, a[0] + (b[0] - a[0]) * t];
}

/** Every asset of the town, all normal. */
export function quietTown(): MockTown {
  const builder = new Builder();
  const chance = random(42);
  for (const [zh, en, corners] of STREETS) {
    const count = 9;
    let previous: [number, number] | null = null;
    for (let i = 0; i < count; i += 1) {
      const here = along(corners, i / (count - 1));
      builder.add("manhole", label(`${zh}${i + 1}号井`, `${en} manhole ${i + 1}`), { type: "Point", coordinates: here });
      if (previous !== null) {
        builder.add("pipe", label(`${zh}${i}–${i + 1}号管段`, `${en} pipe ${i}–${i + 1}`), {
          type: "LineString",
          coordinates: [previous, here],
        });
      }
      previous = here;
    }
  }
  const places: [Kind, [string, string, number, number][]][] = [
    ["sluice-gate", GATES],
    ["canal-gauge", GAUGES],
    ["rain-gauge", RAIN],
  ];
  for (const [kind, list] of places) {
    for (const [zh, en, lat, lon] of list) {
      builder.add(kind, label(zh, en), { type: "Point", coordinates: [lon, lat] });
    }
  }
  for (const [n, [zh, en, lat, lon]] of LOTS.entries()) {
    const id = `LOT-${n + 1}`;
    builder.add("parking-lot", label(zh, en), { type: "Point", coordinates: [lon, lat] }, { id });
    for (let bay = 0; bay < BAYS_PER_LOT; bay += 1) {
      const [row, column] = [Math.floor(bay / 20), bay % 20];
      builder.add(
        "parking-bay",
        label(`${zh} ${bay + 1} 号车位`, `${en}, bay ${bay + 1}`),
        {
          type: "Point",
          coordinates: [lon + (column - 9.5) * 3.2e-5, lat - 0.0003 - row * 7e-5 - Math.floor(row / 2) * 5e-5],
        },
        { parent: id, state: chance() < 0.6 ? 1 : 0 },
      );
    }
  }
  return { features: builder.features, alerts: [] };
}

interface Trouble {
  at: number;
  severity: SeverityName;
  minutes: number;
  metric: string;
  text: Label;
  kind?: Alert["kind"];
  value?: number;
  limit?: number;
  unit?: string;
  acknowledged?: boolean;
  returned?: boolean;
  more?: Partial<Alert>;
}

const RANK = { critical: 1, major: 2, minor: 3, info: 4 } as const;

/** The same town in a storm, as it stands at `nowMs`. */
export function stormyTown(nowMs: number): MockTown {
  const town = quietTown();
  const find = (kind: Kind, n: number): number =>
    town.features.filter(({ properties }) => properties.kind === kind)[n]?.id ?? 0;
  const level = label("水位接近地面", "Level close to the ground");
  const troubles: Trouble[] = [
    { at: find("manhole", 12), severity: "critical", minutes: 4, metric: "sewer.level", text: level, value: 2.31, limit: 2.2, unit: "m" },
    { at: find("manhole", 30), severity: "critical", minutes: 51, metric: "sewer.level", text: level, value: 2.26, limit: 2.2, unit: "m", acknowledged: true },
    { at: find("manhole", 11), severity: "major", minutes: 7, metric: "sewer.level", text: label("井内水位偏高", "High level in the manhole"), value: 1.74, limit: 1.6, unit: "m" },
    { at: find("manhole", 40), severity: "major", minutes: 18, metric: "ch4", text: label("甲烷浓度偏高", "High methane"), value: 31, limit: 25, unit: "%{LEL}" },
    { at: find("canal-gauge", 0), severity: "major", minutes: 22, metric: "canal.level", text: label("河道水位超橙色警戒", "Canal level above orange"), value: 2.02, limit: 1.96, unit: "m", acknowledged: true },
    { at: find("sluice-gate", 4), severity: "major", minutes: 2, metric: "gate.motor", kind: "state", text: label("闸门电机故障", "Gate motor fault"), value: 3, unit: "1" },
    { at: find("pipe", 20), severity: "minor", minutes: 12, metric: "sewer.level", text: label("管道满流", "Pipe flowing full"), value: 0.86, limit: 0.8, unit: "m" },
    { at: find("pipe", 45), severity: "minor", minutes: 65, metric: "sewer.velocity", text: label("流速过低,可能淤积", "Slow flow, may silt up"), value: 0.41, limit: 0.6, unit: "m/s", returned: true },
    { at: find("rain-gauge", 0), severity: "minor", minutes: 33, metric: "rain.depth", text: label("强降雨", "Heavy rain"), value: 8.6, limit: 8, unit: "mm" },
    { at: find("manhole", 55), severity: "info", minutes: 150, metric: "battery", text: label("电池电量低", "Battery low"), value: 17, limit: 20, unit: "%", acknowledged: true },
    { at: find("manhole", 48), severity: "info", minutes: 1560, metric: "sewer.level", kind: "no_data", text: label("超过 15 分钟没有数据", "No data for 15 minutes") },
    { at: find("parking-bay", 200), severity: "info", minutes: 90, metric: "bay.occupied", kind: "state", text: label("占用超过 24 小时", "Occupied for over a day"), value: 1, unit: "1" },
  ];
  const ago = (minutes: number): string => new Date(nowMs - minutes * 60_000).toISOString();
  const clear: Standing = { shelved: null, suppressed: null, out_of_service: null };
  const aside: [Partial<Trouble>, Standing][] = [
    [{ at: find("manhole", 20), text: label("硫化氢偏高", "High hydrogen sulphide"), metric: "h2s" },
      { ...clear, shelved: { by: "zhao", reason: "探头待校准", at: ago(50), until: ago(-70) } }],
    [{ at: find("manhole", 3), text: label("超过 15 分钟没有数据", "No data for 15 minutes"), kind: "no_data" },
      { ...clear, suppressed: { cause: { gateway: "gw-west" }, at: ago(31) } }],
    [{ at: find("manhole", 22), text: label("超过 15 分钟没有数据", "No data for 15 minutes"), kind: "no_data" },
      { ...clear, suppressed: { cause: { maintenance: [4, "新华路管道清淤"] }, at: ago(12) } }],
    [{ at: find("rain-gauge", 1), text: label("雨量筒堵塞", "Rain gauge clogged") },
      { ...clear, out_of_service: { by: "admin", reason: "返厂维修", at: ago(900) } }],
  ];
  const marks: Record<number, Partial<Alert>> = {
    101: { first_in_group: true },
    103: { worst: "critical" },
    107: { chattering: true, raised_count: 7 },
  };
  for (const [i, trouble] of troubles.entries()) raise(town, { ...trouble, more: marks[i + 101] ?? {} }, i + 101, nowMs);
  for (const [i, [trouble, standing]] of aside.entries()) {
    const base: Trouble = { at: 0, severity: "minor", minutes: 60, metric: "sewer.level", text: level, value: 7.1, limit: 6, unit: "[ppm]" };
    raise(town, { ...base, ...trouble, more: { standing } }, i + 121, nowMs);
  }
  for (const n of [3, 22, 57]) {
    const feature = town.features.find(({ id }) => id === find("manhole", n));
    if (feature) feature.properties.freshness = n === 57 ? "dead" : "stale";
  }
  return town;
}

function raise(town: MockTown, trouble: Trouble, id: number, nowMs: number): void {
  const feature = town.features.find((candidate) => candidate.id === trouble.at);
  if (feature === undefined) return;
  const raisedAt = new Date(nowMs - trouble.minutes * 60_000).toISOString();
  const acknowledged = trouble.acknowledged === true;
  town.alerts.push({
    id,
    version: acknowledged ? 2 : 1,
    device: deviceId(trouble.at),
    metric: trouble.metric,
    name: "limit",
    kind: trouble.kind ?? "limit",
    asset: feature.properties.asset,
    asset_number: trouble.at,
    severity: trouble.severity,
    text: trouble.text,
    value: trouble.value ?? null,
    peak: trouble.value === undefined ? null : trouble.value * 1.04,
    limit: trouble.limit ?? null,
    clear: trouble.limit === undefined ? null : Math.round(trouble.limit * 92) / 100,
    unit: trouble.unit ?? null,
    active: trouble.returned !== true,
    since: raisedAt,
    raised_at: raisedAt,
    acknowledged_at: acknowledged ? new Date(nowMs - 60_000).toISOString() : null,
    acknowledged_by: acknowledged ? "wang" : null,
    note: acknowledged ? "已通知养护班组" : null,
    cleared_at: trouble.returned === true ? new Date(nowMs - 300_000).toISOString() : null,
    worst: trouble.severity,
    chattering: false,
    first_in_group: false,
    raised_count: 1,
    standing: { shelved: null, suppressed: null, out_of_service: null },
    ...trouble.more,
  });
  // What is put aside does not colour the map.
  if (trouble.more?.standing !== undefined) return;
  const { properties } = feature;
  const rank = RANK[trouble.severity];
  if (properties.severity === 0 || rank < properties.severity) {
    properties.severity = rank;
    properties.acknowledged = acknowledged;
  }
  if (trouble.kind === "no_data") properties.freshness = "dead";
}

export function deviceId(asset: number): string {
  return `dev-${asset}`;
}

function point(metric: string, text: Label, unit: string, value: number | null, at: string, more: Partial<Point> = {}): Point {
  return {
    metric, label: text, unit, value, state: null, grade: "good" as Grade, reason: null,
    observed_at: at, received_at: at, range: null, states: null, limits: [], ...more,
  };
}

const limit = (severity: SeverityName, above: number, zh: string, en: string) => ({
  name: severity, severity, above, on_delay_s: 60, text: label(zh, en),
});

const MOTOR = [
  { code: 0, name: "stopped", label: label("停止", "Stopped") },
  { code: 1, name: "opening", label: label("开启中", "Opening") },
  { code: 3, name: "fault", label: label("故障", "Fault") },
];
const BAY = [
  { code: 0, name: "free", label: label("空闲", "Free") },
  { code: 1, name: "occupied", label: label("占用", "Occupied") },
];

function pointsOf(kind: Kind, state: number | null, alert: Alert | undefined, at: string): Point[] {
  const v = (metric: string, quiet: number): number => (alert?.metric === metric && alert.value !== null ? alert.value : quiet);
  switch (kind) {
    case "manhole":
      return [
        point("sewer.level", label("井内水位", "Level"), "m", v("sewer.level", 0.42), at, {
          limits: [limit("major", 1.6, "偏高", "High"), limit("critical", 2.2, "接近地面", "Near ground")],
        }),
        point("h2s", label("硫化氢", "Hydrogen sulphide"), "[ppm]", 1.2, at, { limits: [limit("major", 6, "偏高", "High")] }),
        point("ch4", label("甲烷", "Methane"), "%{LEL}", v("ch4", 3), at, { limits: [limit("major", 25, "偏高", "High")] }),
        point("manhole.tilt", label("井盖倾角", "Cover tilt"), "deg", 91.5, at, { grade: "bad", reason: "range" }),
        point("battery", label("电池", "Battery"), "%", v("battery", 81), at),
      ];
    case "pipe":
      return [
        point("sewer.level", label("管内水深", "Depth"), "m", v("sewer.level", 0.31), at, { limits: [limit("minor", 0.8, "满流", "Full")] }),
        point("sewer.velocity", label("流速", "Velocity"), "m/s", v("sewer.velocity", 0.92), at),
        point("sewer.flow", label("流量", "Flow"), "m3/s", 0.118, at, { grade: "uncertain", reason: "clock" }),
      ];
    case "sluice-gate":
      return [
        point("gate.opening", label("开度", "Opening"), "m", 0.85, at),
        point("gate.level_in", label("内河水位", "Inner level"), "m", 1.31, at),
        point("gate.level_out", label("外河水位", "Outer level"), "m", 1.58, at),
        point("gate.motor", label("电机", "Motor"), "1", v("gate.motor", 0), at, {
          states: MOTOR,
          state: MOTOR.find(({ code }) => code === v("gate.motor", 0))?.label ?? null,
        }),
      ];
    case "canal-gauge":
      return [point("canal.level", label("水位(1985 高程)", "Level (1985 datum)"), "m", v("canal.level", 1.22), at, { limits: [limit("major", 1.96, "橙色", "Orange")] })];
    case "rain-gauge":
      return [point("rain.depth", label("5 分钟雨量", "Rain in 5 min"), "mm", v("rain.depth", 0.4), at, { limits: [limit("minor", 8, "强降雨", "Heavy")] })];
    case "parking-bay":
      return [point("bay.occupied", label("占用", "Occupancy"), "1", state, at, { states: BAY, state: BAY.find(({ code }) => code === state)?.label ?? null })];
    case "parking-lot":
      return [];
  }
}

/** What `/assets/{id}` answers. */
export function detailOf(town: MockTown, number: number, nowMs: number): AssetDetail | null {
  const feature = town.features.find(({ id }) => id === number);
  if (feature === undefined) return null;
  const { asset, kind, family, name, zone, parent, freshness, state } = feature.properties;
  const alert = town.alerts.find(({ asset_number }) => asset_number === number);
  const age = freshness === "fresh" ? 20_000 : 3_900_000;
  const points = pointsOf(kind, state, alert, new Date(nowMs - age).toISOString());
  const device: Device = {
    id: deviceId(number), name, profile: `acme/${kind}`, asset, kind, connected: freshness === "fresh",
    last_heard: new Date(nowMs - age).toISOString(), freshness: freshness ?? "never", points, undecoded: [],
  };
  return { asset, number, kind, family, name, zone, parent, devices: points.length === 0 ? [] : [device] };
}

/** A day of a point that ends at its present value, with a hole of bad data and one of silence. */
export function seriesOf(town: MockTown, device: string, metric: string, fromMs: number, toMs: number, stepMs: number): Bucket[] {
  const number = Number(device.replace("dev-", ""));
  const last = detailOf(town, number, toMs)?.devices[0]?.points.find((p) => p.metric === metric);
  const target = last?.value ?? 1;
  const chance = random(number * 31 + metric.length);
  const buckets: Bucket[] = [];
  const steps = Math.floor((toMs - fromMs) / stepMs);
  for (let i = 0; i <= steps; i += 1) {
    const at = i / steps;
    if (at > 0.3 && at < 0.35) continue;
    const bad = at > 0.55 && at < 0.58;
    const base = last?.states ? (at > 0.9 ? target : 0) : target * (0.35 + 0.1 * Math.sin(at * 12) + 0.03 * chance() + 0.6 * Math.max(0, (at - 0.85) / 0.15));
    const value = bad ? null : i === steps ? target : base;
    buckets.push([fromMs + i * stepMs, value, value, value, value, 3, bad ? 0 : 1]);
  }
  return buckets;
}
