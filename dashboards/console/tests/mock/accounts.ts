/** Accounts, sessions, tokens, keys, zones, the audit log and imports of the mock hub: what their pages' stories need, in memory. */

import type { Schemas } from "../../src/api/hub";
import { Refused } from "./cases";
import { Reply, type Asked, type MockHub } from "./server";

const at = (hoursAgo: number): string => new Date(Date.now() - hoursAgo * 3_600_000).toISOString();

export class AccountDesk {
  users: Schemas["UserInfo"][] = [
    { name: "admin", role: "admin", zones: null, disabled: false, must_change: false, created_at: at(9000) },
    { name: "li", role: "handler", zones: ["west"], disabled: false, must_change: false, created_at: at(900) },
    { name: "ren", role: "viewer", zones: null, disabled: true, must_change: true, created_at: at(90) },
  ];
  sessions: Schemas["SessionInfo"][] = [
    { id: "aa", user: "admin", agent: "Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", created_at: at(2), used_at: at(0), ends_at: at(-12), current: true },
    { id: "bb", user: "admin", agent: "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Firefox/130.0", created_at: at(5), used_at: at(3), ends_at: at(-9), current: false },
    { id: "cc", user: "li", agent: "Mozilla/5.0 (Linux; Android 14) Chrome/130.0 Mobile Safari/537.36", created_at: at(7), used_at: at(1), ends_at: at(-11), current: false },
  ];
  tokens: Schemas["TokenInfo"][] = [
    { id: 1, user: "admin", label: "grafana", scope: ["view"], created_at: at(500), ends_at: at(-5000), used_at: at(1) },
    { id: 2, user: "admin", label: "wall: 值班室", scope: ["view"], created_at: at(300), ends_at: at(-8000), used_at: null },
  ];
  enrolments: Schemas["Enrolment"][] = [];
  entries: Schemas["AuditEntry"][] = Array.from({ length: 130 }, (_, n) => ({
    seq: n + 1, at: at(130 - n), actor: n % 3 === 0 ? "li" : "(hub)", action: n % 2 === 0 ? "user.change" : "case.opened",
    subject: `s${n + 1}`, detail: { before: { role: "viewer" }, after: { role: "handler" } }, hash: "ab".repeat(32),
  }));
  zones: Schemas["ZoneFeature"][] = [
    {
      type: "Feature", id: "west", properties: { zone: "west", name: { zh: "西栅", en: "Xizha" } },
      geometry: { type: "Polygon", coordinates: [[[120.47, 30.74], [120.48, 30.74], [120.48, 30.75], [120.47, 30.75], [120.47, 30.74]]] },
    } as unknown as Schemas["ZoneFeature"],
  ];
  /** What was imported: the route, whether it was a check only, the body. */
  readonly imports: { path: string; dry: boolean; text: string }[] = [];
  readonly deeds: string[] = [];

  constructor(hub: MockHub) {
    hub.also((asked) => this.answer(asked));
  }

  private answer({ method, path, query, body, user }: Asked): unknown {
    const [, room = "", id = "", step = ""] = path.split("/").map(decodeURIComponent);
    if (method !== "GET") this.deeds.push(`${method} ${path}`);
    if (step === "import" || id === "import") return this.import(path, query, typeof body === "string" ? body : JSON.stringify(body));
    const given = (typeof body === "object" && body !== null ? body : {}) as Record<string, never>;
    switch (room) {
      case "users":
        return this.forUsers(method, id, step, given);
      case "sessions":
        if (method === "DELETE") return this.drop(this.sessions, (one) => one.id === id);
        return { sessions: this.sessions.filter((one) => query.get("all") === "true" || one.user === user.name) };
      case "tokens":
        if (method === "DELETE") return this.drop(this.tokens, (one) => String(one.id) === id);
        if (method === "GET") return { tokens: this.tokens.filter((one) => query.get("all") === "true" || one.user === user.name) };
        this.tokens.push({ id: 9, user: user.name, label: given["label"] ?? "", scope: given["scope"] ?? null, created_at: at(0), ends_at: at(-24 * (given["days"] ?? 365)), used_at: null });
        return { token: "tok-secret-once" };
      case "wall-links":
        return new Reply(201, { path: "/wall/join#c0de", expires_at: at(-0.25) });
      case "enrolments":
        if (method === "DELETE") {
          const key = this.enrolments.find((one) => String(one.id) === id);
          if (key !== undefined) key.revoked_at = at(0);
          return new Reply(204, null);
        }
        if (method === "GET") return { enrolments: this.enrolments };
        this.enrolments = [{ id: 4, label: given["label"] ?? "", profile: given["profile"] ?? null, zone: given["zone"] ?? null, max_devices: given["max_devices"] ?? 0, used: 0, created_at: at(0), expires_at: at(-24), revoked_at: null }];
        return new Reply(201, { enrolment: this.enrolments[0] ?? {}, key: "key-once" });
      case "devices":
        return method === "GET" && id === "" ? { devices: [], waiting: [], waiting_total: 2 } : undefined;
      case "zones":
        return { type: "FeatureCollection", features: this.zones };
      case "audit":
        return this.audit(query);
      default:
        return undefined;
    }
  }

  private forUsers(method: string, name: string, step: string, given: Record<string, never>): unknown {
    if (method === "GET") return { users: this.users };
    if (name === "") {
      if (this.users.some((one) => one.name === given["name"])) throw new Refused(409, "already_exists");
      this.users.push({ name: given["name"] ?? "", role: given["role"] ?? "viewer", zones: given["zones"] ?? null, disabled: false, must_change: true, created_at: at(0) });
      return new Reply(201, { password: "one-time-pass" });
    }
    const found = this.users.find((one) => one.name === name);
    if (found === undefined) throw new Refused(404, "not_found");
    if (step === "password") return { password: "another-pass" };
    const admins = this.users.filter((one) => one.role === "admin");
    if (found.role === "admin" && admins.length === 1) throw new Refused(409, "last_admin");
    if (method === "DELETE") return this.drop(this.users, (one) => one === found);
    return Object.assign(found, given);
  }

  private audit(query: URLSearchParams): unknown {
    const [limit, before] = [Number(query.get("limit") ?? 100), Number(query.get("before") ?? Infinity)];
    const [actor, action] = [query.get("actor"), query.get("action")];
    const found = [...this.entries]
      .reverse()
      .filter((one) => one.seq < before && (actor === null || one.actor === actor) && (action === null || one.action.startsWith(action)));
    const entries = found.slice(0, limit);
    return { entries, next_before: found.length > limit ? (entries.at(-1)?.seq ?? null) : null };
  }

  /** Rows whose text has `bad` in it are refused, as the hub would word it. */
  private import(path: string, query: URLSearchParams, text: string): unknown {
    const dry = query.get("dry_run") === "true";
    this.imports.push({ path, dry, text });
    const lines = text.startsWith("{") ? (JSON.parse(text) as { features: unknown[] }).features.map((one) => JSON.stringify(one)) : text.trim().split(/\r?\n/).slice(1);
    const isDevices = path.startsWith("/devices");
    const rows: Schemas["ImportRow"][] = lines.map((line, n) => {
      const isBad = line.includes("bad");
      const id = /^[^,{]+/.exec(line)?.[0] ?? `f${n}`;
      return { row: n + 1, id, status: isBad ? "rejected" : "created", errors: isBad ? ["there is no zone `bad`; import the zones first"] : [] };
    });
    const rejected = rows.filter(({ status }) => status === "rejected").length;
    const applied = !dry && rejected === 0;
    if (applied && isDevices) for (const row of rows) row.secret = `secret-of-${row.id}`;
    return new Reply(rejected > 0 ? 422 : 200, { applied, accepted: rows.length - rejected, rejected, rows });
  }

  private drop<T>(list: T[], which: (one: T) => boolean): Reply {
    const found = list.findIndex(which);
    if (found < 0) throw new Refused(404, "not_found");
    list.splice(found, 1);
    return new Reply(204, null);
  }
}
