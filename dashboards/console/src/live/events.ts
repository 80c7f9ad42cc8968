/** The live feed's events as values; the texts of the stream are read here and nowhere else. */

import type { Alert, Case, Command, Freshness, Grade, Rank, Reason } from "../api/types";

/** Where in the feed an event stands. An epoch is one life of the hub; `seq` grows within it. */
export interface FeedPosition {
  epoch: string;
  seq: number;
}

/** What the map shows of an asset, and all that a `state` event can change. */
export interface Shown {
  severity: 0 | Rank;
  acknowledged: boolean;
  freshness: Freshness;
  state: number | null;
  grade: Grade;
}

/** The newest value of one point. */
export interface ValueChange {
  asset: number;
  device: string;
  metric: string;
  value: number | null;
  grade: Grade;
  reason: Reason | null;
  observedAtMs: number;
}

export type LiveEvent =
  | { type: "hello"; at: FeedPosition; serverMs: number }
  | { type: "state"; at: FeedPosition; changes: [number, Shown][] }
  | { type: "alert"; at: FeedPosition; alert: Alert }
  | { type: "case"; at: FeedPosition; case: Case }
  | { type: "command"; at: FeedPosition; command: Command }
  /** Something began, changed or ended that is wrong with the hub itself: the list of troubles says what. */
  | { type: "trouble"; at: FeedPosition }
  | { type: "value"; at: FeedPosition; changes: ValueChange[] }
  | { type: "beat"; at: FeedPosition; serverMs: number }
  | { type: "reload"; at: FeedPosition; reason: "epoch" | "gap" };

/** The names of the events that the console listens to. */
export const EVENT_NAMES = ["hello", "state", "alert", "case", "command", "trouble", "value", "reload", "beat"] as const;
export type EventName = (typeof EVENT_NAMES)[number];

const FRESHNESS: readonly Freshness[] = ["fresh", "stale", "dead", "never"];
const GRADES: readonly Grade[] = ["good", "uncertain", "bad"];

/** Reads `epoch-seq`; nothing for an id of another shape. */
export function readPosition(id: string): FeedPosition | null {
  const dash = id.lastIndexOf("-");
  const seq = Number(id.slice(dash + 1));
  return dash > 0 && Number.isSafeInteger(seq) && seq >= 0 ? { epoch: id.slice(0, dash), seq } : null;
}

/** Writes a position as the hub reads it. */
export function writePosition(at: FeedPosition): string {
  return `${at.epoch}-${at.seq}`;
}

type StateRow = [number, number, 0 | 1, number, number | null, number];
type ValueRow = [number, string, string, number | null, number, Reason | null, number];

/** Reads one event of the stream; nothing when it is not as agreed, and the caller then reads the map again. */
export function readEvent(name: EventName, id: string, data: string): LiveEvent | null {
  const at = readPosition(id);
  if (at === null) return null;
  try {
    return fromBody(name, at, JSON.parse(data));
  } catch {
    return null;
  }
}

function fromBody(name: EventName, at: FeedPosition, body: unknown): LiveEvent {
  switch (name) {
    case "hello":
    case "beat":
      return { type: name, at, serverMs: Date.parse((body as { at: string }).at) };
    case "state":
      return { type: name, at, changes: (body as StateRow[]).map(readState) };
    case "alert":
      return { type: name, at, alert: body as Alert };
    case "case":
      return { type: name, at, case: body as Case };
    case "command":
      return { type: name, at, command: body as Command };
    case "trouble":
      return { type: name, at };
    case "value":
      return { type: name, at, changes: (body as ValueRow[]).map(readValue) };
    case "reload":
      return { type: name, at, reason: (body as { reason: "epoch" | "gap" }).reason };
  }
}

function readState([asset, severity, acknowledged, freshness, state, grade]: StateRow): [number, Shown] {
  return [
    asset,
    {
      severity: severity as Shown["severity"],
      acknowledged: acknowledged === 1,
      freshness: FRESHNESS[freshness] ?? "never",
      state,
      grade: GRADES[grade] ?? "bad",
    },
  ];
}

function readValue([asset, device, metric, value, grade, reason, observedAtMs]: ValueRow): ValueChange {
  return { asset, device, metric, value, grade: GRADES[grade] ?? "bad", reason, observedAtMs };
}
