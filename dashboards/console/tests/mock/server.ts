/** A hub for tests: follows the HTTP contract, serves the built console under its policy, and does what a test tells it. */

import { createReadStream, existsSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import type { AddressInfo } from "node:net";
import type { Alert, AssetProperties, BaseMap, BulkResult, MoveKind, Rank, Trouble } from "../../src/api/types";
import { RANK } from "../../src/town/select";
import { CaseDesk, Refused, UNITS, USERS, workday, type MockUser } from "./cases";
import { CommandDesk, SPECS } from "./commands";
import { detailOf, seriesOf, type MockTown } from "./town";

export const POLICY =
  "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; connect-src 'self'";

const DIST = join(import.meta.dirname, "../../dist");
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
};
/** Longest delay of an answer, in ms. `MOCK_HUB_DELAY_MS=800` finds the stories that count on a fast hub. */
const DELAY_MS = Number(process.env.MOCK_HUB_DELAY_MS ?? 0);

/** Waits as long as the hub makes somebody wait. */
export async function late(): Promise<void> {
  if (DELAY_MS > 0) await new Promise((done) => setTimeout(done, Math.random() * DELAY_MS));
}

/** Answers; whoever has left, as a closed page does, waits for no answer: the body then ends with `aborted`. */
export function serve(server: Server, answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>): void {
  server.on("request", (request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (!request.destroyed && !response.destroyed) throw error;
    });
  });
}

const FRESHNESS = ["fresh", "stale", "dead", "never"];
const GRADES = ["good", "uncertain", "bad"];

interface Stream {
  response: ServerResponse;
  assets: Set<number>;
}

/** A question to the mock hub that one story answers by itself. */
export interface Asked {
  method: string;
  /** Without `/api/v1`. */
  path: string;
  query: URLSearchParams;
  /** What was sent: JSON, or text of another type. */
  body: unknown;
  user: MockUser;
}

/** Answers what it knows with a body (`status` 200) or a `Reply`; what it does not know with `undefined`. Throws `Refused`. */
export type Desk = (asked: Asked) => unknown;

/** An answer that is not simply JSON and 200. */
export class Reply {
  constructor(
    readonly status: number,
    readonly body: string | object | null,
    readonly type = "application/json",
  ) {}
}

export class MockHub {
  readonly requests: string[] = [];
  readonly queries: string[] = [];
  readonly acknowledged: { id: number; note?: string }[] = [];
  epoch = 7;
  beating = true;
  signedIn = true;
  user: MockUser = USERS.admin as MockUser;
  /** While it is down, no request of a move is answered; `after` does the move and loses the answer. */
  fault: "none" | "before" | "after" = "none";
  /** While it is mute, changes reach the hub but not the feed. */
  mute = false;
  readonly desk: CaseDesk;
  readonly orders: CommandDesk;
  /** What the map stands on; nothing, as before there were base maps. */
  ground: BaseMap | null = null;
  /** What is wrong with the hub itself. */
  troubles: Trouble[] = [];
  private readonly desks: Desk[] = [];
  private port = 0;
  private seq = 100;
  private readonly streams = new Set<Stream>();
  private readonly log: { seq: number; text: string }[] = [];
  private readonly beatTimer: NodeJS.Timeout;

  private constructor(
    private readonly server: Server,
    public town: MockTown,
    private readonly nowMs: () => number,
  ) {
    this.desk = new CaseDesk(() => this.town, nowMs, (one) => this.send("case", one));
    this.orders = new CommandDesk(nowMs, (command) => this.send("command", command));
    if (town.alerts.length > 0) workday(this.desk, town);
    this.beatTimer = setInterval(() => this.beat(), 1_000);
  }

  /** Starts a hub on a free port. Beats come every second, so that no test waits for one. */
  static async start(town: MockTown, nowMs: () => number = Date.now): Promise<MockHub> {
    const server = createServer();
    const hub = new MockHub(server, town, nowMs);
    serve(server, (request, response) => hub.answer(request, response));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    hub.port = (server.address() as AddressInfo).port;
    return hub;
  }

  /** Its address, known from the start to after its end. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get streamCount(): number {
    return this.streams.size;
  }

  async stop(): Promise<void> {
    clearInterval(this.beatTimer);
    this.cutStreams();
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  // --- what a test can make happen ---

  /** Puts a desk before the hub's own: what it answers, the hub does not. */
  also(desk: Desk): void {
    this.desks.unshift(desk);
  }

  /** Ends every stream, as a proxy does. */
  cutStreams(): void {
    for (const { response } of this.streams) response.destroy();
    this.streams.clear();
  }

  /** Starts a new life of the hub with another town, as after a restart. */
  restart(town: MockTown): void {
    this.epoch += 1;
    this.seq = 1;
    this.log.length = 0;
    this.town = town;
    this.cutStreams();
  }

  /** Raises or changes an alert and what the map shows of its asset. */
  push(alert: Alert): void {
    const at = this.town.alerts.findIndex(({ id }) => id === alert.id);
    if (at < 0) this.town.alerts.push(alert);
    else this.town.alerts[at] = alert;
    this.send("alert", alert);
    const properties = this.town.features.find(({ id }) => id === alert.asset_number)?.properties;
    if (properties === undefined) return;
    this.judge(alert.asset_number, properties);
    this.sendState(alert.asset_number ?? 0, properties);
  }

  /** Something goes wrong with the hub, or is well again, and the feed says so. */
  setTroubles(troubles: Trouble[]): void {
    const gone = this.troubles.filter(({ id }) => troubles.every((one) => one.id !== id));
    this.troubles = troubles;
    const mark = ({ id, code, severity, since }: Trouble) => ({ id, code, severity, since });
    for (const one of troubles) this.send("trouble", { ...mark(one), ended_at: null });
    for (const one of gone) this.send("trouble", { ...mark(one), ended_at: this.now() });
  }

  /** Changes the displayed state of an asset. */
  change(asset: number, change: Partial<AssetProperties>): void {
    const properties = this.town.features.find(({ id }) => id === asset)?.properties;
    if (properties === undefined) return;
    Object.assign(properties, change);
    this.sendState(asset, properties);
  }

  /** One event for the displayed state of many assets, as a busy hub sends it. */
  changeMany(assets: readonly number[], state: number): void {
    this.send("state", assets.map((asset) => [asset, 0, 0, FRESHNESS.indexOf("fresh"), state, GRADES.indexOf("good")]));
  }

  /** Sends a value to the pages that follow the asset. */
  value(asset: number, metric: string, value: number): void {
    const row = [asset, `dev-${asset}`, metric, value, 0, null, this.nowMs()];
    const text = this.event("value", [row]);
    for (const stream of this.streams) if (stream.assets.has(asset)) stream.response.write(text);
  }

  private judge(number: number | null, properties: AssetProperties): void {
    const open = this.town.alerts.filter(
      (alert) => alert.asset_number === number && (alert.active || alert.acknowledged_at === null),
    );
    properties.severity = Math.min(5, ...open.map(({ severity }) => RANK[severity])) as Rank;
    if (open.length === 0) properties.severity = 0;
    properties.acknowledged = open.every(({ acknowledged_at }) => acknowledged_at !== null);
  }

  private sendState(asset: number, properties: AssetProperties): void {
    const { severity, acknowledged, freshness, state, grade } = properties;
    this.send("state", [
      [asset, severity, acknowledged ? 1 : 0, FRESHNESS.indexOf(freshness ?? "never"), state, GRADES.indexOf(grade)],
    ]);
  }

  private event(name: string, body: unknown): string {
    return `event: ${name}\nid: ${this.epoch}-${this.seq}\ndata: ${JSON.stringify(body)}\n\n`;
  }

  private send(name: string, body: unknown): void {
    if (this.mute) return;
    this.seq += 1;
    const text = this.event(name, body);
    this.log.push({ seq: this.seq, text });
    for (const { response } of this.streams) response.write(text);
  }

  private beat(): void {
    if (!this.beating) return;
    const text = this.event("beat", { at: this.now() });
    for (const { response } of this.streams) response.write(text);
  }

  private now(): string {
    return new Date(this.nowMs()).toISOString();
  }

  // --- the contract ---

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    this.requests.push(`${request.method} ${url.pathname}`);
    this.queries.push(`${url.pathname}${url.search}`);
    response.setHeader("content-security-policy", POLICY);
    if (url.pathname === "/login") {
      response.setHeader("content-type", TYPES[".html"] ?? "");
      response.end("<!doctype html><title>login</title><h1>登录 / Sign in</h1>");
    } else if (!this.signedIn) {
      if (url.pathname.startsWith("/api/")) problem(response, 401, "not_authenticated");
      else response.writeHead(303, { location: "/login" }).end();
    } else if (url.pathname.startsWith("/api/v1/")) {
      await late();
      await this.api(request, response, url);
    } else {
      file(response, url.pathname);
    }
  }

  private async api(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const path = url.pathname.slice("/api/v1".length);
    if (this.desks.length > 0 && (await this.atDesks(request, response, url, path))) return;
    const acknowledge = /^\/alerts\/(\d+)\/acknowledge$/.exec(path);
    const asset = /^\/assets\/([^/]+)$/.exec(path);
    const series = /^\/series\/([^/]+)\/([^/]+)$/.exec(path);
    if (path === "/live") return this.live(request, response, url);
    if (path === "/session") return json(response, {
        user: { name: this.user.name, role: this.user.role, zones: null },
        role: this.user.label,
        rights: this.user.rights,
        must_change: false,
      });
    if (path === "/status") return json(response, this.status());
    if (path === "/troubles") return json(response, { troubles: this.troubles, next_before: null });
    if (path.startsWith("/profiles/")) return json(response, { commands: path.includes("sluice-gate") ? SPECS : [] });
    if (path.startsWith("/commands")) return this.command(request, response, path);
    if (path === "/profiles") return json(response, { profiles: [], refused: [] });
    if (path === "/map") return json(response, url.searchParams.has("at") ? this.past(url.searchParams) : this.map());
    if (path === "/basemap") return this.ground === null ? problem(response, 404, "not_found") : json(response, this.ground);
    if (path === "/zones") return json(response, zones());
    if (path.startsWith("/basemap/tiles/")) return picture(response);
    if (path === "/alerts") {
      const open = this.town.alerts.filter((alert) => alert.active || alert.acknowledged_at === null);
      return json(response, { alerts: open, next_before: null });
    }
    if (path.startsWith("/cases") || path === "/units") return this.cases(request, response, url, path);
    const aside = /^\/alerts\/(\d+)\/(un)?shelve$/.exec(path);
    if (path === "/alerts/acknowledge") return this.acknowledgeMany(request, response);
    if (aside) return this.putAside(Number(aside[1]), aside[2] === undefined, request, response);
    if (acknowledge) return this.acknowledge(Number(acknowledge[1]), request, response);
    if (asset) {
      const detail = detailOf(this.town, this.town.features.find(({ properties }) => properties.asset === asset[1])?.id ?? -1, this.nowMs());
      if (detail === null) return problem(response, 404, "not_found");
      for (const device of detail.devices) {
        device.commands = detail.kind === "sluice-gate" ? SPECS.map(({ name }) => name) : [];
        device.command = this.orders.running(device.id);
      }
      return json(response, detail);
    }
    if (series) {
      const [device, metric] = [decodeURIComponent(series[1] ?? ""), decodeURIComponent(series[2] ?? "")];
      const [from, to] = [Date.parse(url.searchParams.get("from") ?? ""), Date.parse(url.searchParams.get("to") ?? "")];
      const stepS = Number.parseInt(url.searchParams.get("step") ?? "60", 10);
      const points = seriesOf(this.town, device, metric, from, to, stepS * 1000);
      return json(response, { device, metric, unit: "m", from, to, step_s: stepS, points });
    }
    problem(response, 404, "not_found");
  }

  /** Whether one of the story's own desks has answered. */
  private async atDesks(request: IncomingMessage, response: ServerResponse, url: URL, path: string): Promise<boolean> {
    const method = request.method ?? "GET";
    const raw = method === "GET" ? "" : String(await bodyOf(request));
    const isJson = request.headers["content-type"]?.includes("json") ?? false;
    const body: unknown = isJson && raw !== "" ? JSON.parse(raw) : raw;
    try {
      for (const desk of this.desks) {
        const found = desk({ method, path, query: url.searchParams, body, user: this.user });
        if (found === undefined) continue;
        if (method !== "GET" && request.headers["x-townhub"] !== "1") problem(response, 403, "cross_site");
        else if (!(found instanceof Reply)) json(response, found);
        else if (typeof found.body === "string") response.writeHead(found.status, { "content-type": found.type }).end(found.body);
        else if (found.body === null) response.writeHead(found.status).end();
        else json(response, found.body, found.status);
        return true;
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      problem(response, error.status, error.code, error.members);
      return true;
    }
    return false;
  }

  private async cases(request: IncomingMessage, response: ServerResponse, url: URL, path: string): Promise<void> {
    const [, , id = "", step = "", name = ""] = path.split("/");
    if (path === "/units") return json(response, { units: UNITS });
    if (this.fault === "before" && request.method === "POST") return void response.destroy();
    const bytes = await bodyOf(request);
    if (request.method === "POST" && request.headers["x-townhub"] !== "1") return problem(response, 403, "cross_site");
    try {
      if (request.method === "GET") {
        if (step === "photos") {
          const photo = this.desk.photos.get(decodeURIComponent(name));
          return void response.writeHead(photo ? 200 : 404, { "content-type": "image/jpeg" }).end(photo);
        }
        if (id !== "") return json(response, this.desk.show(Number(id), this.user));
        const wanted = url.searchParams.get("stage")?.split(",");
        const cases = [...this.desk.cases.values()].filter(({ stage }) => (wanted ? wanted.includes(stage) : stage !== "closed"));
        return json(response, { cases: cases.sort((a, b) => b.id - a.id), next_before: null });
      }
      if (step === "photos") return json(response, { name: this.desk.putPhoto(bytes) }, 201);
      const body = JSON.parse(bytes.toString() || "{}") as Record<string, never>;
      const answer = this.doCase(id, step, body);
      if (this.fault === "after") return void response.destroy();
      json(response, answer, id === "" || step === "reopen" ? 201 : 200);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      problem(response, error.status, error.code, error.members);
    }
  }

  private async command(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const [, , id = "", step = ""] = path.split("/");
    const body = JSON.parse(String(await bodyOf(request)) || "{}") as { device: string; target?: number; command: string; challenge: string };
    if (request.method === "POST" && request.headers["x-townhub"] !== "1") return problem(response, 403, "cross_site");
    try {
      if (request.method === "GET") return json(response, this.orders.show(Number(id), this.user));
      if (!this.user.rights.includes("operate")) return problem(response, 403, "forbidden");
      if (id === "stop") return json(response, this.orders.stop(body.device, this.user), 201);
      if (step === "confirm") return json(response, this.orders.confirm(Number(id), body.challenge, this.user));
      if (step === "cancel") return json(response, this.orders.cancel(Number(id)));
      const number = Number(body.device.replace("dev-", ""));
      const asset = String(this.town.features.find((feature) => feature.id === number)?.properties.asset);
      json(response, this.orders.select(body, asset, number, this.user), 201);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      problem(response, error.status, error.code, error.members);
    }
  }

  private doCase(id: string, step: string, body: Record<string, never>): unknown {
    if (id === "") {
      const kind = this.town.features.find(({ properties }) => properties.asset === body.asset)?.properties.kind ?? null;
      return this.desk.open({ asset: body.asset ?? null, kind, title: body.title!, severity: body.severity! }, [], this.user.name);
    }
    if (step === "reopen") return this.desk.reopen(Number(id), body.reason ?? "", this.user);
    if (step === "attach") return this.desk.attach(Number(id), Number(body.alert), this.user);
    return this.desk.make(Number(id), step as MoveKind, body, this.user);
  }

  private status(): unknown {
    const total = this.town.features.length;
    const old = this.town.features.filter(({ properties }) => properties.freshness !== "fresh").length;
    return {
      version: "0.1.0",
      epoch: this.epoch,
      at: this.now(),
      town: { name: { zh: "乌镇", en: "Wuzhen" }, center: [120.4851, 30.74536], zoom: 14 },
      basemap: "schematic",
      devices: { total, online: total - old, stale: old, dead: 0, never: 0 },
    };
  }

  private map(): unknown {
    return {
      type: "FeatureCollection",
      features: this.town.features,
      townhub: { epoch: this.epoch, seq: this.seq, at: this.now() },
    };
  }

  /** The town an hour ago or more: dry, but for one alert that nobody had seen yet. */
  private past(asked: URLSearchParams): unknown {
    const alert = this.town.alerts[0];
    const stood = alert === undefined ? [] : [{ ...alert, acknowledged_at: null, acknowledged_by: null, note: null }];
    const features = this.town.features.map((feature) => {
      const open = feature.id === alert?.asset_number;
      const properties = { ...feature.properties, severity: open ? RANK[alert.severity] : 0, acknowledged: false, freshness: "fresh" };
      return { ...feature, properties };
    });
    return { type: "FeatureCollection", features, alerts: stood, townhub: { epoch: this.epoch, seq: 0, at: asked.get("at") } };
  }

  private live(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const since = String(request.headers["last-event-id"] ?? url.searchParams.get("since") ?? "");
    const [epoch, seq] = since.split("-").map(Number);
    const assets = new Set((url.searchParams.get("assets") ?? "").split(",").filter(Boolean).map(Number));
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write("retry: 200\n\n");
    response.write(this.event("hello", { epoch: this.epoch, seq: this.seq, at: this.now() }));
    if (epoch !== this.epoch) response.write(this.event("reload", { reason: "epoch" }));
    else for (const entry of this.log) if (entry.seq > (seq ?? 0)) response.write(entry.text);
    const stream = { response, assets };
    this.streams.add(stream);
    response.on("close", () => this.streams.delete(stream));
  }

  private async acknowledgeMany(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { ids, note } = JSON.parse(String(await bodyOf(request))) as { ids: number[]; note?: string };
    if (request.headers["x-townhub"] !== "1") return problem(response, 403, "cross_site");
    const results = ids.map((id): BulkResult => {
      const alert = this.town.alerts.find((candidate) => candidate.id === id);
      if (alert === undefined) return { id, outcome: "not_found", version: null };
      if (alert.acknowledged_at !== null) return { id, outcome: "already_acknowledged", version: alert.version };
      this.acknowledged.push({ id, ...(note === undefined ? {} : { note }) });
      const by = { acknowledged_at: this.now(), acknowledged_by: this.user.name, note: note ?? null };
      this.push({ ...alert, version: alert.version + 1, ...by });
      return { id, outcome: "acknowledged", version: alert.version + 1 };
    });
    json(response, { results });
  }

  private async putAside(id: number, away: boolean, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = JSON.parse(String(await bodyOf(request))) as { for?: string; reason?: string; version?: number };
    const alert = this.town.alerts.find((candidate) => candidate.id === id);
    if (alert === undefined) return problem(response, 404, "not_found");
    if (request.headers["x-townhub"] !== "1") return problem(response, 403, "cross_site");
    if (!asked.reason?.trim()) return problem(response, 400, "bad_body");
    if (asked.version !== alert.version) return problem(response, 409, "version_conflict");
    const [, count = "0", unit] = /^(\d+)(min|h)$/.exec(asked.for ?? "0h") ?? [];
    const seconds = Number(count) * (unit === "h" ? 3600 : 60);
    const longest = alert.severity === "critical" ? 1800 : 8 * 3600;
    if (away && seconds > longest) return problem(response, 400, "bad_body", { id, longest_s: longest });
    const until = new Date(this.nowMs() + seconds * 1000).toISOString();
    const shelved = away ? { by: this.user.name, reason: asked.reason, at: this.now(), until } : null;
    const answer: Alert = {
      ...alert, version: alert.version + 1, standing: { shelved, suppressed: null, out_of_service: null },
    };
    json(response, answer);
    this.push(answer);
  }

  private async acknowledge(id: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = JSON.parse(String(await bodyOf(request))) as { version?: number; note?: string };
    const alert = this.town.alerts.find((candidate) => candidate.id === id);
    if (alert === undefined) return problem(response, 404, "not_found");
    if (request.headers["x-townhub"] !== "1") return problem(response, 403, "bad_body");
    if (alert.acknowledged_at !== null) return problem(response, 409, "already_acknowledged");
    if (asked.version !== alert.version) return problem(response, 409, "version_conflict");
    this.acknowledged.push({ id, ...(asked.note === undefined ? {} : { note: asked.note }) });
    const answer: Alert = {
      ...alert,
      version: alert.version + 1,
      acknowledged_at: this.now(),
      acknowledged_by: this.user.name,
      note: asked.note ?? null,
    };
    json(response, answer);
    this.push(answer);
  }
}

const bodies = new WeakMap<IncomingMessage, Promise<Buffer>>();

/** What was sent; it may be asked for more than once. */
export function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const known = bodies.get(request);
  if (known !== undefined) return known;
  const read = (async (): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  })();
  bodies.set(request, read);
  return read;
}

function zones(): unknown {
  const zone = (id: string, zh: string, en: string): unknown => ({
    type: "Feature", id, geometry: { type: "Polygon", coordinates: [] }, properties: { zone: id, name: { zh, en } },
  });
  return { type: "FeatureCollection", features: [zone("xizha", "西栅", "Xizha"), zone("wuzhen", "镇区", "Town")] };
}

/** One grey pixel. */
const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mM8c+bMfwAHdgL+rE2WlQAAAABJRU5ErkJggg==",
  "base64",
);

function picture(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "image/png" }).end(PIXEL);
}

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function problem(response: ServerResponse, status: number, code: string, members: Record<string, unknown> = {}): void {
  response
    .writeHead(status, { "content-type": "application/problem+json" })
    .end(JSON.stringify({ type: "about:blank", title: code, status, code, ...members }));
}

export function file(response: ServerResponse, path: string): void {
  const name = join(DIST, normalize(path === "/" ? "/index.html" : path));
  if (!name.startsWith(DIST) || !existsSync(name)) {
    response.writeHead(404).end();
    return;
  }
  response.setHeader("content-type", TYPES[extname(name)] ?? "application/octet-stream");
  createReadStream(name).pipe(response);
}
