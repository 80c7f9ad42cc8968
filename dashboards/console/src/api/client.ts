/** The hub's HTTP interface as typed calls. Knows nothing of the page but that a lost session leads to the login. */

import type {
  Alert,
  AssetDetail,
  BaseMap,
  MapAnswer,
  Problem,
  ProfilesAnswer,
  SeriesAnswer,
  SessionAnswer,
  Status,
  ZonesAnswer,
} from "./types";

/** A refusal by the hub, or no answer at all (`code` is then `unreachable`). */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

/** How long an answer may take, in milliseconds. */
const TIMEOUT_MS = 15_000;

/** Leaves for the login page; a test or a worker passes its own. */
let onSessionLost = (): void => window.location.assign("/login");

/** Says what happens when the hub no longer knows us. */
export function whenSessionIsLost(act: () => void): void {
  onSessionLost = act;
}

async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      ...init,
      headers: { accept: "application/json", ...init.headers },
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new ApiError("unreachable", 0, error instanceof Error ? error.message : String(error));
  }
  if (response.ok) return (await response.json()) as T;
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
    return new ApiError(problem.code, response.status, problem.detail ?? problem.title);
  } catch {
    // A proxy in between answers in its own words.
    return new ApiError("internal", response.status, response.statusText);
  }
}

function post<T>(path: string, body: unknown): Promise<T> {
  return call<T>(path, {
    method: "POST",
    body: JSON.stringify(body),
    // The second header is what a foreign page cannot send: the guard against forged requests.
    headers: { "content-type": "application/json", "x-townhub": "1" },
  });
}

/** A zoom at which the hub sends every asset by itself, never a cluster. */
const UNCLUSTERED_ZOOM = 16;
/** The hub's largest page of alerts that the console asks for. */
const ALERT_PAGE = 500;
/** Pages of open alerts read at most; a town with more has another problem than this list. */
const MAX_ALERT_PAGES = 10;

export const api = {
  session: (): Promise<SessionAnswer> => call("/session"),
  status: (): Promise<Status> => call("/status"),
  profiles: (): Promise<ProfilesAnswer> => call("/profiles"),
  map: (crs: BaseMap["crs"]): Promise<MapAnswer> => call(`/map?zoom=${UNCLUSTERED_ZOOM}&crs=${crs}`),
  /** The town at a moment; `bbox` is west, south, east, north in the map's own coordinates. */
  mapAt: (at: Date, crs: BaseMap["crs"], bbox: readonly number[] | null): Promise<MapAnswer> =>
    call(`/map?crs=${crs}&at=${at.toISOString()}${bbox === null ? "" : `&bbox=${bbox.map((d) => d.toFixed(6)).join(",")}`}`),
  basemap: (): Promise<BaseMap> => call("/basemap"),
  zones: (): Promise<ZonesAnswer> => call("/zones"),
  asset: (id: string): Promise<AssetDetail> => call(`/assets/${encodeURIComponent(id)}`),

  /** Every open alert, page after page. */
  async openAlerts(): Promise<Alert[]> {
    const alerts: Alert[] = [];
    let before = "";
    for (let page = 0; page < MAX_ALERT_PAGES; page += 1) {
      const answer = await call<{ alerts: Alert[]; next_before: number | null }>(
        `/alerts?open=true&limit=${ALERT_PAGE}${before}`,
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

  series: (
    device: string,
    metric: string,
    from: Date,
    to: Date,
    stepS: number,
  ): Promise<SeriesAnswer> =>
    call(
      `/series/${encodeURIComponent(device)}/${encodeURIComponent(metric)}` +
        `?from=${from.toISOString()}&to=${to.toISOString()}&step=${stepS}s`,
    ),
};
