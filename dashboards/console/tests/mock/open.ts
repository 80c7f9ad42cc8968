/** A hub as a stranger sees it: the pages for everybody with their own files, the parking board, and a locked door else. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename } from "node:path";
import type { Board, Lot } from "../../src/open/parking/lots";
import { bodyOf, file, late, POLICY, serve } from "./server";

const PAGES: Record<string, string> = { "/parking": "/parking.html", "/wall/join": "/join.html" };

/** A lot of so many bays of which so many are known to be free, and so many not known. */
export function lot(id: string, zh: string, en: string, at: [number, number], more: Partial<Lot> & { bays?: number; empty?: number } = {}): Lot {
  const { bays = 100, empty = 40, ...rest } = more;
  const unknown = rest.unknown ?? 0;
  const closed = rest.closed ?? 0;
  const taken = bays - empty - unknown - closed;
  return {
    id,
    name: { zh, en },
    position: at,
    position_gcj02: [at[0] + 0.0044, at[1] - 0.0023],
    capacity: bays,
    free: { least: empty, most: empty + unknown },
    occupied: { least: taken, most: taken + unknown },
    unknown,
    closed,
    occupation: "open",
    trend: "steady",
    observed_at: new Date(Date.now() - 150_000).toISOString(),
    ...rest,
  };
}

/** The town's five lots, each in another condition. */
export function someLots(): Lot[] {
  return [
    lot("PL-1", "西栅景区停车场", "Xizha scenic area car park", [120.4762, 30.7509], { bays: 140, empty: 52, trend: "filling" }),
    lot("PL-2", "东栅景区停车场", "Dongzha scenic area car park", [120.4925, 30.7466], { bays: 100, empty: 4, occupation: "nearly_full", trend: "filling" }),
    lot("PL-3", "子夜路停车场", "Ziye Road car park", [120.4825, 30.7425], { bays: 60, empty: 12, unknown: 3, trend: "emptying" }),
    lot("PL-4", "乌镇汽车站停车场", "Bus station car park", [120.4833, 30.7389], { bays: 60, empty: 0, occupation: "full" }),
    lot("PL-5", "北栅停车场", "Beizha car park", [120.483, 30.7544], {
      bays: 40, empty: 0, unknown: 40, occupation: "unknown", trend: null, observed_at: null,
    }),
  ];
}

export class OpenHub {
  readonly requests: string[] = [];
  board: Board = { town: { zh: "乌镇", en: "Wuzhen" }, changed_at: new Date().toISOString(), lots: someLots(), left_out: 0 };
  /** Whether it answers for its bays. */
  counting = true;
  /** Codes of wall links that were not used. */
  readonly codes = new Set(["c0de"]);
  signedIn = false;

  private constructor(private readonly server: Server) {}

  static async start(): Promise<OpenHub> {
    const server = createServer();
    const hub = new OpenHub(server);
    serve(server, (request, response) => hub.answer(request, response));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", this.url);
    this.requests.push(`${request.method} ${pathname}`);
    response.setHeader("content-security-policy", POLICY);
    response.setHeader("x-content-type-options", "nosniff");
    const page = PAGES[pathname];
    if (page !== undefined) return file(response, page);
    if (pathname.startsWith("/open/")) return file(response, `/open/${basename(pathname)}`);
    if (pathname.startsWith("/api/")) await late();
    if (pathname === "/api/v1/parking") return this.parking(request, response);
    if (pathname.startsWith("/api/v1/wall-links")) return this.links(pathname, request, response);
    if (pathname === "/wall" && this.signedIn) return void response.writeHead(200, { "content-type": "text/html" }).end("<h1>wall</h1>");
    response.writeHead(401, { "content-type": "application/problem+json" }).end('{"code":"not_authenticated"}');
  }

  private parking(request: IncomingMessage, response: ServerResponse): void {
    if (!this.counting) return void response.writeHead(503).end();
    const body = JSON.stringify(this.board);
    const etag = `W/"${body.length}-${this.board.changed_at}"`;
    response.setHeader("etag", etag);
    response.setHeader("cache-control", "public, max-age=5");
    if (request.headers["if-none-match"] === etag) return void response.writeHead(304).end();
    response.writeHead(200, { "content-type": "application/json" }).end(body);
  }

  private async links(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(String(await bodyOf(request))) as { code?: string; name?: string };
    if (path.endsWith("/redeem")) {
      this.signedIn = this.codes.delete(body.code ?? "");
      return void response.writeHead(this.signedIn ? 204 : 404).end();
    }
    if (!this.signedIn) return void response.writeHead(401).end("{}");
    response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify({ path: "/wall/join#abcd", expires_at: "" }));
  }
}
