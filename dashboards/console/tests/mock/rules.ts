/** The rule book, profiles and notifications of the mock hub: versions, refusals and dry runs as the hub has them. */

import type { Schemas } from "../../src/api/hub";
import { Refused, type MockUser } from "./cases";
import { Reply, type Asked, type Desk } from "./server";

const both = (zh: string, en: string) => ({ zh, en });
const LABEL = both("窨井水位偏高", "Manhole level high");

type Body = Record<string, never>;

/** A rule book with one rule on each of some manholes. */
export class RuleBook {
  readonly overrides = new Map<string, Schemas["OverridePage"]>();
  readonly changes: Schemas["RuleChange"][] = [];
  readonly windows: Schemas["Maintenance"][] = [];
  readonly rehearsals: unknown[] = [];
  readonly messages: Schemas["Message"][] = [];
  channels: Schemas["ChannelState"][] = [];
  refused: Schemas["Refused"][] = [];
  reloads = 0;

  constructor(readonly devices = 3) {}

  readonly desk: Desk = (asked) => this.answer(asked);

  private answer({ method, path, query, body, user }: Asked): unknown {
    const [, part = "", id = "", step = ""] = path.split("/");
    const sent = body as Body;
    if (part === "zones") return { type: "FeatureCollection", features: [{ type: "Feature", id: "xizha", geometry: {}, properties: { zone: "xizha", name: both("西栅", "Xizha") } }] };
    if (part === "devices" && id === "") return { devices: this.ids().map((one) => this.device(one)), waiting: [], waiting_total: 0 };
    if (part === "profiles") return this.profiles(method, id, user);
    if (part === "notifications") return this.notifications(method, id, step, path.split("/")[4] ?? "", query, user);
    if (part === "schedules" && method === "GET") return { schedules: [] };
    if (part === "maintenance") return this.maintenance(method, id, sent, user);
    if (path === "/rules/rehearse") return this.rehearse(sent);
    if (path === "/rules/overrides") return { overrides: [...this.overrides.values()] };
    if (path === "/rules/own") return { own: [] };
    if (path === "/rules/history") return { changes: [...this.changes].reverse(), next_before: null };
    if (path === "/rules") return { rules: this.ids().filter((one) => (query.get("device") ?? one) === one).map((one) => this.rule(one)), next_after: null };
    if (part === "rules" && id === "overrides") return this.override(method, step, sent, query, user);
    return undefined;
  }

  private ids(): string[] {
    return Array.from({ length: this.devices }, (_, n) => `mh-${String(n + 1).padStart(3, "0")}`);
  }

  private device(id: string): Schemas["DeviceSummary"] {
    return { id, name: both(`子夜路 ${id} 井`, `Ziye Road ${id}`), profile: "wz-mh1", asset: id.toUpperCase(), kind: "manhole", connected: true, last_heard: null, freshness: "fresh", undecoded_total: 0 };
  }

  private rule(device: string): unknown {
    const page = [...this.overrides.values()].find(({ scope }) => !scope.device || scope.device === device);
    const rung = page?.set.rungs?.major;
    return {
      device, metric: "level", name: "high", kind: "limit", asset: device.toUpperCase(), zone: "xizha", unit: "m", origin: { profile: "wz-mh1" },
      enabled: page?.set.enabled ?? true, in_force: page?.set.enabled ?? true, problems: [],
      rule: { text: LABEL, for: page?.set.for ?? "1min", clear_for: "3min", ladder: [{ severity: "major", above: rung?.limit ?? 1.8, clear: rung?.clear ?? 1.6 }] },
      from: page === undefined ? {} : Object.fromEntries(Object.keys(page.set).map((field) => [field, { override: page.id, scope: "device" }])),
    };
  }

  /** Makes a change as somebody else would. */
  put(id: string, body: Pick<Schemas["OverridePage"], "scope" | "select" | "set">, who: string, why: string): Schemas["OverridePage"] {
    const before = this.overrides.get(id) ?? null;
    const { scope, select, set } = body;
    const page = { id, version: (before?.version ?? 0) + 1, scope, select, set, changed_by: who, changed_at: new Date().toISOString() };
    this.overrides.set(id, page);
    this.note(id, who, why, page.version, before, page);
    return page;
  }

  private note(id: string, actor: string, why: string, version: number, before: unknown, after: unknown): void {
    this.changes.push({ seq: this.changes.length + 1, at: new Date().toISOString(), actor, what: "override", id, version, before, after, why } as Schemas["RuleChange"]);
  }

  private override(method: string, id: string, sent: Body, query: URLSearchParams, user: MockUser): unknown {
    if (!user.rights.includes("engineer")) throw new Refused(403, "forbidden", { right: "engineer" });
    const current = this.overrides.get(id);
    const given = Number(method === "DELETE" ? query.get("version") : (sent as { version?: number }).version ?? 0);
    if ((current?.version ?? 0) !== given) throw new Refused(409, "version_conflict", { id, current: current?.version ?? 0, given });
    if (method === "DELETE") {
      this.overrides.delete(id);
      this.note(id, user.name, query.get("why") ?? "", given + 1, current, null);
      return new Reply(204, null);
    }
    const body = sent as unknown as Schemas["OverrideBody"];
    if (body.set.for === "9d") throw new Refused(422, "bad_body", { errors: ["mh-001 level high: `for` is too long"] });
    return this.put(id, { scope: body.scope, select: body.select ?? {}, set: body.set }, user.name, body.why);
  }

  private rehearse(sent: Body): unknown {
    this.rehearsals.push(sent);
    const { from, to, set } = sent as unknown as Schemas["RehearsalBody"];
    const start = Date.parse(from);
    const limit = set?.rungs?.major?.limit ?? 1.8;
    const played = (count: number) => ({
      readings: 288, judged: 280, truncated: false,
      sums: { raised: count, raised_per_day: count, active_s: 600 * count, longest_s: count === 0 ? 0 : 600, is_active: false, worst: count === 0 ? null : "major", by_severity: count === 0 ? {} : { major: count } },
      spells: Array.from({ length: count }, (_, n) => {
        const raised = start + (n + 1) * 3_600_000;
        return { since: new Date(raised).toISOString(), raised: new Date(raised).toISOString(), cleared: new Date(raised + 600_000).toISOString(), severity: "major", value: 2, peak: 2.25 };
      }),
    });
    const one = played(1);
    return {
      from, to: to ?? new Date().toISOString(), present: one, proposed: set ? played(limit < 1.8 ? 3 : 0) : null,
      recorded: { sums: one.sums, truncated: false, spells: one.spells.map(({ raised, cleared, severity }) => ({ alert: 7, raised, cleared, severity })) },
    };
  }

  private maintenance(method: string, id: string, sent: Body, user: MockUser): unknown {
    if (method === "GET") return { maintenance: this.windows.filter(({ ended_at: ended }) => ended === null) };
    if (method === "POST") {
      const made = {
        number: this.windows.length + 1, from: new Date().toISOString(), by: user.name, made_at: new Date().toISOString(), ended_by: null, ended_at: null, ...(sent as object),
      } as unknown as Schemas["Maintenance"];
      this.windows.push(made);
      return new Reply(201, made);
    }
    const found = this.windows.find(({ number }) => number === Number(id));
    if (found === undefined) throw new Refused(404, "not_found");
    return Object.assign(found, { ended_at: new Date().toISOString(), ended_by: user.name });
  }

  private profiles(method: string, id: string, user: MockUser): unknown {
    const summary = {
      id: "wz-mh1", name: both("WZ-MH1 窨井监测终端", "WZ-MH1 manhole node"), manufacturer: "Wuzhen", model: "MH1", kind: "manhole", source: "mqtt", points: 1,
      devices: this.devices, file: "wz-mh1.toml", version: "630657f5ae67", since: "2026-06-01T00:00:00Z", tests_passed: 2, warnings: [], is_outdated: this.refused.length > 0, is_removed: false,
    };
    if (id === "reload") {
      if (method !== "POST" || !user.rights.includes("engineer")) throw new Refused(403, "forbidden");
      this.reloads += 1;
      return { profiles: [summary], refused: this.refused };
    }
    if (id === "") return { profiles: [summary], refused: this.refused };
    const alert = { name: "high", test: "above", limit: 1.8, clear: 1.6, rungs: [{ severity: "major", limit: 1.8, clear: 1.6 }], window_s: null, for_s: 60, clear_for_s: 180, severity: "major", text: LABEL };
    return {
      ...summary, commands: [], tests: ["a normal report", "a full manhole"], refusal: null, text: '[source.mqtt]\ntopic   = "wz/{device}/up"\npayload = "json"\n',
      points_in_full: [{ name: "level", label: both("水深", "Water depth"), unit: "m", range: [0, 6], states: [], alerts: [alert] }],
    };
  }

  private notifications(method: string, id: string, step: string, last: string, query: URLSearchParams, user: MockUser): unknown {
    if (method === "POST" && !user.rights.includes("supervise")) throw new Refused(403, "forbidden", { right: "supervise" });
    if (id === "channels" && method === "POST" && last === "test") return new Reply(202, { id: this.message(step, "sent", null, true).id });
    if (id === "channels") return { configured: this.channels.length > 0, channels: this.channels };
    const found = this.messages.find((one) => one.id === Number(id));
    if (id === "") {
      const [channel, state] = [query.get("channel"), query.get("state")];
      const list = this.messages.filter((one) => (channel === null || one.channel === channel) && (state === null || one.state === state));
      return { notifications: list.map((one) => ({ ...one, ...one.notice })).reverse(), next_before: null };
    }
    if (found === undefined) throw new Refused(404, "not_found");
    if (step !== "retry") return found;
    if (found.state === "sent") throw new Refused(409, "illegal_move", { id: found.id, state: found.state });
    Object.assign(found, { state: "sent", sent_at: new Date().toISOString(), error: null, attempts: found.attempts + 1 });
    return new Reply(202, { id: found.id });
  }

  /** Puts a message into the outbox. */
  message(channel: string, state: Schemas["State"], error: string | null, test = false): Schemas["Message"] {
    const at = new Date().toISOString();
    const entry = {
      about: "alert", event: "alert.raised", alert: 101, version: 1, case: null, severity: "critical", active: true, chattering: false, first_in_group: false, worst: "critical",
      text: both("水位接近地面", "Level close to the ground"), place: both("子夜路4号井", "Ziye Road manhole 4"), zone: "xizha", asset: "MH-4",
    };
    const made = {
      id: this.messages.length + 1, key: `town-${this.messages.length + 1}`, channel, state, created_at: at, attempts: error === null ? 1 : 9, next_at: state === "waiting" ? at : null,
      sent_at: state === "sent" ? at : null, error, answer: null,
      notice: { alerts: [101], at, cases: [], counts: { critical: 1, major: 0, minor: 0, info: 0 }, entries: [entry], merged: false, people: [], places: 1, severity: "critical", test, total: 1 },
    } as unknown as Schemas["Message"];
    this.messages.push(made);
    return made;
  }
}
