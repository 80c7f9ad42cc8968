/** The hub's HTTP interface as typed calls. Knows nothing of the page but that a lost session leads to the login. */

import type {
  Alert,
  AssetDetail,
  BaseMap,
  BulkResult,
  Case,
  CaseDetail,
  Command,
  CommandAnswer,
  CommandSpec,
  MapAnswer,
  MoveBody,
  MoveKind,
  Problem,
  ProfilesAnswer,
  SeriesAnswer,
  SessionAnswer,
  Status,
  Trouble,
  Unit,
  ZonesAnswer,
} from "./types";

/** A refusal by the hub, or no answer at all (`code` is then `unreachable`). */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    detail: string,
    /** Further members of the hub's problem document. */
    readonly members: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail);
  }

  /** Nobody knows whether the hub did it: the line broke, or something in between answered. */
  get isUncertain(): boolean {
    return this.code === "unreachable" || this.status === 502 || this.status === 504;
  }
}

/** What went wrong as the hub's own kind of error; anything else that was thrown is ours. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("internal", 0, String(error));
}

/** How long an answer may take, in milliseconds. */
const TIMEOUT_MS = 15_000;

/** Leaves for the login page; a test or a worker passes its own. */
let onSessionLost = (): void => window.location.assign("/login");

/** Says what happens when the hub no longer knows us. */
export function whenSessionIsLost(act: () => void): void {
  onSessionLost = act;
}

/** Asks the hub; `path` begins with `/api`. An answer without a body is `undefined`. */
export async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      headers: { accept: "application/json", ...init.headers },
      credentials: "same-origin",
      signal: init.signal ?? AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new ApiError("unreachable", 0, error instanceof Error ? error.message : String(error));
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  if (response.status === 401) onSessionLost();
  const refused = await refusal(response);
  if (refused.code === "password_change_required") window.location.assign("/password");
  throw refused;
}

/** Ends the session here and at the hub. Not a plain form: over http a browser sends nothing that tells it from another site's. */
export async function logOut(): Promise<void> {
  try {
    const ending = { method: "DELETE", headers: { "x-townhub": "1" }, signal: AbortSignal.timeout(TIMEOUT_MS) };
    await fetch("/api/v1/session", { ...ending, credentials: "same-origin" });
  } finally {
    onSessionLost();
  }
}

async function refusal(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as Problem;
    return new ApiError(problem.code, response.status, problem.detail ?? problem.title, problem);
  } catch {
    // A proxy in between answers in its own words.
    return new ApiError("internal", response.status, response.statusText);
  }
}

/** What the page's own calls begin with. */
const V1 = "/api/v1";

function post<T>(path: string, body: unknown): Promise<T> {
  return call<T>(V1 + path, {
    method: "POST",
    body: JSON.stringify(body),
    // The second header is what a foreign page cannot send: the guard against forged requests.
    headers: { "content-type": "application/json", "x-townhub": "1" },
  });
}

/** How long a photo may take on its way, in milliseconds: a phone in the rain has little of the net. */
const PHOTO_TIMEOUT_MS = 120_000;

/** A zoom at which the hub sends every asset by itself, never a cluster. */
const UNCLUSTERED_ZOOM = 16;
/** The hub's largest page of alerts that the console asks for. */
const ALERT_PAGE = 500;
/** Pages of open alerts read at most; a town with more has another problem than this list. */
const MAX_ALERT_PAGES = 10;
const MAX_CASE_PAGES = 10;
/** Alerts of one bulk acknowledgement. */
const BULK = 500;

export const api = {
  session: (): Promise<SessionAnswer> => call("/api/v1/session"),
  status: (): Promise<Status> => call("/api/v1/status"),
  /** What is wrong with the hub itself, the worst first. */
  troubles: async (): Promise<Trouble[]> => (await call<{ troubles: Trouble[] }>("/api/v1/troubles")).troubles,
  profiles: (): Promise<ProfilesAnswer> => call("/api/v1/profiles"),
  map: (crs: BaseMap["crs"]): Promise<MapAnswer> => call(`/api/v1/map?zoom=${UNCLUSTERED_ZOOM}&crs=${crs}`),
  /** The town at a moment; `bbox` is west, south, east, north in the map's own coordinates. */
  mapAt: (at: Date, crs: BaseMap["crs"], bbox: readonly number[] | null): Promise<MapAnswer> =>
    call(`/api/v1/map?crs=${crs}&at=${at.toISOString()}${bbox === null ? "" : `&bbox=${bbox.map((d) => d.toFixed(6)).join(",")}`}`),
  basemap: (): Promise<BaseMap> => call("/api/v1/basemap"),
  zones: (): Promise<ZonesAnswer> => call("/api/v1/zones"),
  asset: (id: string): Promise<AssetDetail> => call(`/api/v1/assets/${encodeURIComponent(id)}`),

  /** Every open alert, page after page. */
  async openAlerts(): Promise<Alert[]> {
    const alerts: Alert[] = [];
    let before = "";
    for (let page = 0; page < MAX_ALERT_PAGES; page += 1) {
      const answer = await call<{ alerts: Alert[]; next_before: number | null }>(
        `/api/v1/alerts?open=true&limit=${ALERT_PAGE}${before}`,
      );
      alerts.push(...answer.alerts);
      if (answer.next_before === null) break;
      before = `&before=${answer.next_before}`;
    }
    return alerts;
  },

  acknowledge: (alert: Alert, note: string): Promise<Alert> =>
    post(`/alerts/${alert.id}/acknowledge`, {
      version: alert.version,
      ...(note === "" ? {} : { note }),
    }),

  /** Acknowledges many at once; each has its own answer. */
  acknowledgeMany: async (ids: number[], note: string): Promise<BulkResult[]> => {
    const results: BulkResult[] = [];
    for (let from = 0; from < ids.length; from += BULK) {
      const part = { ids: ids.slice(from, from + BULK), ...(note === "" ? {} : { note }) };
      results.push(...(await post<{ results: BulkResult[] }>("/alerts/acknowledge", part)).results);
    }
    return results;
  },

  /** Sets an alert aside until then; `hold` is a duration such as `4h`. */
  shelve: (alert: Alert, hold: string, reason: string): Promise<Alert> =>
    post(`/alerts/${alert.id}/shelve`, { for: hold, reason, version: alert.version }),
  unshelve: (alert: Alert, reason: string): Promise<Alert> =>
    post(`/alerts/${alert.id}/unshelve`, { reason, version: alert.version }),

  /** Every open case, page after page. */
  async openCases(): Promise<Case[]> {
    const cases: Case[] = [];
    let before = "";
    for (let page = 0; page < MAX_CASE_PAGES; page += 1) {
      const answer = await call<{ cases: Case[]; next_before: number | null }>(`/api/v1/cases?open=true&limit=500${before}`);
      cases.push(...answer.cases);
      if (answer.next_before === null) break;
      before = `&before=${answer.next_before}`;
    }
    return cases;
  },
  /** The newest closed cases. */
  closedCases: async (): Promise<Case[]> =>
    (await call<{ cases: Case[] }>("/api/v1/cases?stage=closed&limit=100")).cases,
  case: (id: number): Promise<CaseDetail> => call(`/api/v1/cases/${id}`),
  units: async (): Promise<Unit[]> => (await call<{ units: Unit[] }>("/api/v1/units")).units,
  move: (id: number, kind: MoveKind, version: number, body: MoveBody): Promise<Case> =>
    post(`/cases/${id}/${kind}`, { version, ...body }),
  reopen: (id: number, reason: string): Promise<Case> => post(`/cases/${id}/reopen`, { reason }),
  attach: (id: number, alert: number): Promise<Case> => post(`/cases/${id}/attach`, { alert }),
  openCase: (body: { title: Case["title"]; severity: Case["severity"]; asset?: string; note?: string }): Promise<Case> =>
    post("/cases", body),
  putPhoto: async (id: number, photo: Blob): Promise<string> => {
    const answer = await call<{ name: string }>(`/api/v1/cases/${id}/photos`, {
      method: "POST",
      body: photo,
      headers: { "content-type": photo.type, "x-townhub": "1" },
      signal: AbortSignal.timeout(PHOTO_TIMEOUT_MS),
    });
    return answer.name;
  },
  photoUrl: (id: number, name: string): string => `/api/v1/cases/${id}/photos/${encodeURIComponent(name)}`,

  /** What a profile's devices may be told. */
  commandSpecs: async (profile: string): Promise<CommandSpec[]> =>
    (await call<{ commands?: CommandSpec[] }>(`/api/v1/profiles/${encodeURIComponent(profile)}`)).commands ?? [],
  command: (id: number): Promise<CommandAnswer> => call(`/api/v1/commands/${id}`),
  select: (device: string, command: string, target: number | null): Promise<CommandAnswer> =>
    post("/commands", { device, command, ...(target === null ? {} : { target }) }),
  confirm: (id: number, challenge: string): Promise<Command> => post(`/commands/${id}/confirm`, { challenge }),
  cancel: (id: number): Promise<Command> => post(`/commands/${id}/cancel`, {}),
  stop: (device: string): Promise<Command> => post("/commands/stop", { device }),

  series: (
    device: string,
    metric: string,
    from: Date,
    to: Date,
    stepS: number,
  ): Promise<SeriesAnswer> =>
    call(
      `/api/v1/series/${encodeURIComponent(device)}/${encodeURIComponent(metric)}` +
        `?from=${from.toISOString()}&to=${to.toISOString()}&step=${stepS}s`,
    ),
};
