/** The routes of devices, profiles and the hub's health, with a device in every trouble that the pages tell of. */

import type { Schemas } from "../../src/api/hub";
import { Refused } from "./cases";
import { Reply, type Asked, type Desk } from "./server";

const both = (zh: string, en: string) => ({ zh, en });
const ago = (s: number): string => new Date(Date.now() - s * 1000).toISOString();

export const NASTY = `{"level_mm":"<img src=x onerror=alert(1)>"}`;

type Row = Schemas["DeviceSummary"];

function row(id: string, freshness: Row["freshness"], undecoded_total = 0): Row {
  return {
    id, name: both(`井 ${id}`, `Manhole ${id}`), profile: "wz-mh1", asset: null, kind: "manhole", connected: freshness === "fresh",
    last_heard: freshness === "never" ? null : ago(freshness === "dead" ? 9_000 : 5), freshness, undecoded_total, battery: { value: 3.61, unit: "V" },
  };
}

function point(metric: string, value: number, grade: Schemas["Grade"] = "good", reason: Schemas["Reason"] | null = null): Schemas["Point"] {
  return {
    metric, label: metric === "level" ? both("水深", "Level") : both("甲烷", "Methane"), unit: metric === "level" ? "m" : "%{LEL}",
    value, state: null, grade, reason, observed_at: ago(4), received_at: ago(4), range: null, states: null, limits: [],
  };
}

const PROFILE = {
  id: "wz-mh1", name: both("窨井监测仪", "Manhole monitor"), manufacturer: "W", model: "MH1", kind: "manhole", source: "mqtt", points: 2,
  devices: 3, file: "wz-mh1.toml", version: "abc123", since: ago(900), tests_passed: 7, warnings: [], is_outdated: false, is_removed: false,
} satisfies Schemas["ProfileSummary"];

/** What a story can change. */
export class DeviceDesk {
  rows = [row("mh-3", "fresh"), row("mh-2", "stale"), row("mh-1", "dead"), row("mh-4", "fresh", 2)];
  waiting: Schemas["WaitingDevice"][] = [];
  /** Whether the new device has said something, and whether that could be read. */
  said: "nothing" | "nonsense" | "values" = "nothing";
  deadDevices = 0;
  readonly made: unknown[] = [];
  readonly approved: unknown[] = [];

  readonly answer: Desk = ({ method, path, query, body }: Asked) => {
    if (path === "/profiles") return { profiles: [PROFILE], refused: [] };
    if (path === "/profiles/wz-mh1") {
      const example = { topic: "devices/{device}/telemetry", text: `{"level_mm":1243}`, hex: null, observed_at: null };
      return { ...PROFILE, points_in_full: [], commands: [], tests: [], refusal: null, text: null, topics: [], example, register: null };
    }
    if (path === "/status") return this.status();
    if (path === "/modbus") return { buses: [] };
    if (path === "/rules") return { rules: this.rules(), next_after: null };
    if (path === "/commands" && method === "GET") return { commands: [], next_before: null, at: ago(0) };
    if (path === "/alerts" && query.has("device")) return { alerts: [], next_before: null };
    if (path === "/devices" && method === "GET") return this.list(query);
    if (path === "/devices" && method === "POST") {
      const { id } = body as { id: string };
      if (this.rows.some((one) => one.id === id)) throw new Refused(409, "already_exists");
      this.made.push(body);
      this.rows.push(row(id, "never"));
      return new Reply(201, { device: row(id, "never"), secret: "s3cr3t" });
    }
    const deed = /^\/devices\/([^/]+)\/(approve|reject|secret)$/.exec(path);
    if (deed?.[2] === "secret") return { secret: "new-s3cr3t" };
    if (deed) {
      this.approved.push([deed[1], deed[2], body]);
      this.waiting = [];
      return deed[2] === "approve" ? row(deed[1] ?? "", "never") : new Reply(204, null);
    }
    const one = /^\/devices\/([^/]+)$/.exec(path);
    return one ? this.device(one[1] ?? "") : undefined;
  };

  private list(query: URLSearchParams): Schemas["Devices"] {
    const find = query.get("q") ?? "";
    const isWaiting = query.get("state") === "waiting";
    const devices = isWaiting ? [] : this.rows.filter(({ id }) => id.includes(find));
    return { devices, waiting: isWaiting ? this.waiting : [], waiting_total: this.waiting.length };
  }

  private device(id: string): Schemas["Device"] {
    const summary = this.rows.find((one) => one.id === id);
    if (summary === undefined) throw new Refused(404, "not_found");
    const isNew = summary.freshness === "never";
    const silent = { observed_at: null, received_at: null, value: null, grade: null };
    const points = [point("level", 1.24), point("ch4", 2, "uncertain", "rate")].map((one) => (isNew && this.said !== "values" ? { ...one, ...silent } : one));
    const failed = { received_at: ago(60), topic: `devices/${id}/telemetry`, reason: "wrong_type", message: "/level_mm is a text", payload: NASTY, size: NASTY.length };
    return { ...summary, points, bus: null, undecoded: !isNew || this.said === "nonsense" ? [failed] : [], commands: [], command: null };
  }

  private rules(): Schemas["EffectiveRule"][] {
    const rule = { ladder: [{ above: 1.8, clear: 1.6, severity: "major" }] };
    return [{
      device: "mh-1", metric: "level", name: "high", kind: "limit", asset: null, zone: null, unit: "m", origin: { profile: "wz-mh1" } as never,
      enabled: true, in_force: true, rule: rule as never, from: { rungs: { override: "low-bridge", scope: "zone" } }, problems: [],
    }];
  }

  private status(): Schemas["Status"] {
    const count = { active: 0, unacknowledged: 0 };
    return {
      version: "1.2.3", epoch: 7, at: ago(0), started_at: ago(7_200), town: { name: both("乌镇", "Wuzhen"), center: [120.4851, 30.74536], zoom: 14 },
      basemap: "schematic", devices: { total: this.rows.length, online: 2, stale: 1, dead: this.deadDevices, never: 0 },
      alerts: { critical: count, major: count, minor: count, info: count },
      readings: { received: 9, stored: 8, duplicates: 1, late: 0, undecoded: 2 },
      store: { series: 2, hot_readings: 8, sealed_readings: 0, sealed_bytes: 0, minute_bytes: 0, hour_bytes: 0, day_bytes: 0, disk_bytes: 4_096, last_commit: 3, oldest_raw: null }, remote: null, broker: null, bridge: null,
      notifications: { channels: 1, failing: [], waiting: 0, failed: 0 }, mqtt: { host: "0.0.0.0", port: 1883, tls_port: null, max_connections: 100 },
      disk: { free_bytes: 5e10, total_bytes: 1e11, state: "ok", warn_below_bytes: 5e9, stop_below_bytes: 1e9 }, backups: null, queues: [{ name: "disk", waiting: 1, size: 100 }],
    };
  }
}
