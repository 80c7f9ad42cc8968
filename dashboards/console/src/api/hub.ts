/**
 * Every route of the hub as a typed call: paths, parameters, bodies and answers are what `schema.d.ts` says, and that is
 * generated from the hub's own document (`npm run gen:api`). A refusal is thrown as `ApiError`.
 */

import { call } from "./client";
import type { components, paths } from "./schema";

/** The hub's words on the wire. */
export type Schemas = components["schemas"];

type Method = "get" | "post" | "put" | "patch" | "delete";
/** The paths that know a method. */
type Having<M extends Method> = { [P in keyof paths]: paths[P][M] extends { responses: unknown } ? P : never }[keyof paths];
type Operation<P extends keyof paths, M extends Method> = NonNullable<paths[P][M]>;

type Content<R> = R extends { content: { "application/json": infer T } | { "application/geo+json": infer T } } ? T : undefined;
type Answer<O> = O extends { responses: infer R } ? Content<R[keyof R & (200 | 201 | 202 | 204)]> : never;
type Parameters<O, In extends "path" | "query"> = O extends { parameters: { [K in In]?: infer T } } ? NonNullable<T> : never;
type Body<O> = O extends { requestBody?: infer B }
  ? NonNullable<B> extends { content: { "application/json": infer T } }
    ? T
    : string | Blob
  : never;

/** What a call takes; whatever a route does not know cannot be given. */
export interface Ask<O> {
  path?: Parameters<O, "path">;
  query?: Parameters<O, "query">;
  body?: Body<O>;
  /** The body's type, where it is not JSON: `text/csv`. */
  type?: string;
  signal?: AbortSignal;
}

/** The address of a route with its parameters filled in, for a link or a download. */
export function address(path: string, ask: { path?: object; query?: object } = {}): string {
  const given = Object.entries(ask.path ?? {});
  const filled = given.reduce((text, [name, value]) => text.replace(`{${name}}`, encodeURIComponent(String(value))), path);
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(ask.query ?? {})) {
    if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  }
  return query.size === 0 ? filled : `${filled}?${query}`;
}

function send<P extends keyof paths, M extends Method>(method: M, path: P, ask: Ask<Operation<P, M>> = {}): Promise<Answer<Operation<P, M>>> {
  const init: RequestInit = { method: method.toUpperCase(), ...(ask.signal ? { signal: ask.signal } : {}) };
  if (method !== "get") {
    // The header is what a foreign page cannot send: the guard against forged requests.
    const isJson = ask.type === undefined;
    init.headers = { "x-townhub": "1", "content-type": ask.type ?? "application/json" };
    init.body = isJson ? JSON.stringify(ask.body ?? {}) : (ask.body as string | Blob);
  }
  return call(address(path, ask), init);
}

export const hubApi = {
  get: <P extends Having<"get">>(path: P, ask?: Ask<Operation<P, "get">>) => send("get", path, ask),
  post: <P extends Having<"post">>(path: P, ask?: Ask<Operation<P, "post">>) => send("post", path, ask),
  put: <P extends Having<"put">>(path: P, ask?: Ask<Operation<P, "put">>) => send("put", path, ask),
  patch: <P extends Having<"patch">>(path: P, ask?: Ask<Operation<P, "patch">>) => send("patch", path, ask),
  delete: <P extends Having<"delete">>(path: P, ask?: Ask<Operation<P, "delete">>) => send("delete", path, ask),
};
