/** Questions to cases: whose turn it is, what is due, in which order, how a queued move will leave it. Pure. */

import type { Case, CaseEvent, DueStep, Family, Kind, MoveBody, MoveKind, Right, Stage, Unit } from "../api/types";
import { matches, RANK, type Filter } from "../town/select";
import type { Asset, Town } from "../town/town";

export const STAGES: readonly Stage[] = ["opened", "dispatched", "accepted", "reported", "verified", "closed"];
export const DUE_STEPS: readonly DueStep[] = ["accept", "arrive", "fix"];
/** The seven steps of town management, in order. */
export const STEPS = ["collect", "open", "dispatch", "handle", "report", "close", "evaluate"] as const;
export type StepName = (typeof STEPS)[number];

const FAMILY: Record<Kind, Family> = {
  manhole: "pipes",
  pipe: "pipes",
  "rain-gauge": "pipes",
  "canal-gauge": "gates",
  "sluice-gate": "gates",
  "parking-bay": "parking",
  "parking-lot": "parking",
};

/** Who looks at the cases. */
export interface Person {
  name: string;
  rights: readonly Right[];
  /** The units that the person belongs to. */
  units: ReadonlySet<string>;
}

/** The person of a session. */
export function personOf(name: string, rights: readonly Right[], units: readonly Unit[]): Person {
  const own = units.filter(({ members }) => members.includes(name)).map(({ id }) => id);
  return { name, rights, units: new Set(own) };
}

/** What is narrowed besides severity, family and text. */
export interface CaseFilter {
  mine: boolean;
  overdue: boolean;
  /** Empty: every stage but closed. */
  stages: ReadonlySet<Stage>;
}

export const NO_CASE_FILTER: CaseFilter = { mine: false, overdue: false, stages: new Set() };

/** Whether a person has to do the next step: dispatch, handle, verify or close. */
export function waitsFor(one: Case, person: Person): boolean {
  const may = (right: Right): boolean => person.rights.includes(right);
  switch (one.stage) {
    case "opened":
      return may("dispatch");
    case "dispatched":
      return may("handle") && isTheirs(one, person);
    case "accepted":
      return may("handle") && one.handler === person.name;
    case "reported":
      return may("verify") && one.handler !== person.name;
    case "verified":
      return may("verify");
    case "closed":
      return false;
  }
}

/** Whether a case lies with a person's unit, and with nobody else of it. */
export function isTheirs(one: Case, person: Person): boolean {
  if (one.unit === undefined || !person.units.has(one.unit)) return false;
  return one.stage !== "dispatched" || one.person === undefined || one.person === null || one.person === person.name;
}

/** A person's own tasks in the field: what waits for them first, then what they have reported. */
export function tasksOf(cases: Iterable<Case>, person: Person, nowMs: number): Case[] {
  const own = [...cases].filter(
    (one) =>
      (one.stage === "dispatched" && isTheirs(one, person)) ||
      ((one.stage === "accepted" || one.stage === "reported") && one.handler === person.name),
  );
  const done = (one: Case): number => Number(one.stage === "reported");
  return byUrgency(own, nowMs).sort((a, b) => done(a) - done(b));
}

/** The cases that pass the filters, the most urgent first. */
export function listCases(
  cases: Iterable<Case>,
  town: Town,
  filter: Filter,
  own: CaseFilter,
  person: Person,
  nowMs: number,
): Case[] {
  const passing = [...cases].filter(
    (one) =>
      (filter.ranks.size === 0 || filter.ranks.has(RANK[one.severity])) &&
      (filter.families.size === 0 || (one.kind !== null && filter.families.has(FAMILY[one.kind]))) &&
      (!own.mine || waitsFor(one, person)) &&
      (!own.overdue || isOverdue(one, nowMs)) &&
      (own.stages.size === 0 || own.stages.has(one.stage)) &&
      (filter.text === "" || matches(filter.text, wordsOf(one, town))),
  );
  return byUrgency(passing, nowMs);
}

function wordsOf(one: Case, town: Town): string[] {
  const asset = assetOfCase(town, one);
  return [
    `#${one.id}`,
    one.title.zh,
    one.title.en,
    one.asset ?? "",
    one.unit ?? "",
    one.handler ?? "",
    ...(asset ? [asset.name.zh, asset.name.en] : []),
  ];
}

/** The asset that a case is about. */
export function assetOfCase(town: Town, one: Case): Asset | undefined {
  const number = one.asset === null ? undefined : town.numbers.get(one.asset);
  return number === undefined ? undefined : town.assets.get(number);
}

/** The overdue cases, the longest overdue first. */
export function overdueCases(cases: Iterable<Case>, nowMs: number): Case[] {
  return byUrgency([...cases].filter((one) => isOverdue(one, nowMs)), nowMs);
}

/** Overdue ones first, the longest first; then by severity; then what is due next; then the newest. */
function byUrgency(cases: readonly Case[], nowMs: number): Case[] {
  // The clock orders them anew twice a second, and the times are texts: each is read once, not at every comparison.
  const rows = cases.map((one) => ({ one, due: dueMs(one) }));
  rows.sort((a, b) => {
    const [lateA, lateB] = [a.due < nowMs, b.due < nowMs];
    if (lateA !== lateB) return lateA ? -1 : 1;
    if (lateA) return a.due - b.due;
    if (a.one.severity !== b.one.severity) return RANK[a.one.severity] - RANK[b.one.severity];
    if (a.due !== b.due) return a.due - b.due;
    return b.one.id - a.one.id;
  });
  return rows.map(({ one }) => one);
}

function dueMs(one: Case): number {
  return nextDue(one)?.atMs ?? Number.POSITIVE_INFINITY;
}

/** The step that a case waits for and until when; nothing when no step has a deadline now. */
export function nextDue(one: Case): { step: DueStep; atMs: number } | null {
  const { deadlines } = one;
  if (deadlines === null) return null;
  const at = (step: DueStep, text: string): { step: DueStep; atMs: number } => ({ step, atMs: Date.parse(text) });
  const fix = at("fix", deadlines.fix);
  if (one.stage === "dispatched") return deadlines.accept === null ? fix : at("accept", deadlines.accept);
  if (one.stage !== "accepted") return null;
  return one.arrived_at !== null || deadlines.arrive === null ? fix : at("arrive", deadlines.arrive);
}

/** Overdue by the page's clock, or by the hub's word. */
export function isOverdue(one: Case, nowMs: number): boolean {
  return one.overdue !== null || dueMs(one) < nowMs;
}

/** How a promised step stands. */
export interface Timer {
  step: DueStep;
  dueMs: number;
  /** When it was done; nothing while it was not. */
  doneMs: number | null;
  /** `skipped`: a later step was done without it. */
  state: "done" | "late" | "due" | "overdue" | "skipped";
}

/** The promised steps of a dispatched case. The events tell when it was accepted. */
export function timersOf(one: Case, events: readonly CaseEvent[], nowMs: number): Timer[] {
  const { deadlines } = one;
  if (deadlines === null) return [];
  const dispatched = events.findLast(({ what }) => what === "dispatched")?.version ?? 0;
  const accepted = events.findLast(({ what, version }) => what === "accepted" && version > dispatched)?.at ?? null;
  const done: Record<DueStep, string | null> = { accept: accepted, arrive: one.arrived_at, fix: one.reported_at };
  // A case that came back from the check is to be fixed again.
  if (one.stage === "opened" || one.stage === "dispatched" || one.stage === "accepted") done.fix = null;
  const isPast = (step: DueStep): boolean =>
    ["reported", "verified", "closed"].includes(one.stage) || (step === "accept" && one.stage === "accepted");
  return DUE_STEPS.flatMap((step): Timer[] => {
    const due = deadlines[step];
    if (due === null) return [];
    const due_ms = Date.parse(due);
    const at = done[step];
    if (at !== null) {
      const doneMs = Date.parse(at);
      return [{ step, dueMs: due_ms, doneMs, state: doneMs > due_ms ? "late" : "done" }];
    }
    const state = isPast(step) || one.stage === "opened" ? "skipped" : due_ms < nowMs ? "overdue" : "due";
    return [{ step, dueMs: due_ms, doneMs: null, state }];
  });
}

/** Which of the seven steps is being waited for; past the last one when the case is over. */
export function stepAt(one: Case): number {
  switch (one.stage) {
    case "opened":
      return STEPS.indexOf("dispatch");
    case "dispatched":
    case "accepted":
      return STEPS.indexOf("handle");
    case "reported":
    case "verified":
      return STEPS.indexOf("close");
    case "closed":
      return STEPS.length;
  }
}

/** Whether a closed case was reported in its time; nothing when it was never dispatched. */
export function wasOnTime(one: Case): boolean | null {
  if (one.deadlines === null) return null;
  const end = one.reported_at ?? one.closed_at;
  return end === null ? null : Date.parse(end) <= Date.parse(one.deadlines.fix);
}

/** The move that stands first: what the one who looks is expected to do. */
export function primaryMove(one: Case, allowed: readonly MoveKind[]): MoveKind | null {
  const wanted: MoveKind[] =
    one.stage === "accepted" && one.arrived_at === null
      ? ["handle", "report"]
      : ["dispatch", "accept", "report", "verify", "close", "handle"];
  // To return, recall or reject is never what is expected.
  return wanted.find((kind) => allowed.includes(kind)) ?? null;
}

/** Moves that the field makes: they are queued first and sent after, so that a lost link loses none. */
export const FIELD_MOVES: readonly MoveKind[] = ["accept", "return", "handle", "report"];

/** Moves that need a reason. */
export const REASONED: readonly MoveKind[] = ["return", "recall", "reject"];

/** The word of the log for a move. */
export const TOLD_AS: Record<MoveKind, string> = {
  dispatch: "dispatched",
  accept: "accepted",
  return: "returned",
  recall: "returned",
  handle: "handled",
  report: "reported",
  verify: "verified",
  reject: "rejected",
  close: "closed",
};

/** A move as it was made on a version. */
export interface MadeMove {
  kind: MoveKind;
  version: number;
  body: MoveBody;
}

/**
 * Whether the log tells that this very move was made. Its answer may have been lost on the way; the hub then refuses the
 * second sending for its version, and this tells our own success from somebody else's change.
 */
export function isOwnMove(events: readonly CaseEvent[], move: MadeMove, person: string): boolean {
  const event = events.find(({ version }) => version === move.version + 1);
  return (
    event !== undefined &&
    event.actor === person &&
    event.what === TOLD_AS[move.kind] &&
    (event.note ?? "") === (move.body.note ?? "").trim() &&
    (event.reason ?? "") === (move.body.reason ?? "") &&
    (event.unit ?? "") === (move.body.unit ?? "")
  );
}

/** The case as it will be once these moves of the field are made. */
export function project(one: Case, moves: readonly MadeMove[], person: string, nowMs: number): Case {
  return moves.reduce((before: Case, { kind }): Case => {
    const after = { ...before, version: before.version + 1 };
    if (kind === "accept") return { ...after, stage: "accepted", handler: person };
    if (kind === "return") {
      const { unit: _unit, person: _person, handler: _handler, ...rest } = after;
      return { ...rest, stage: "opened" };
    }
    if (kind === "handle") return { ...after, arrived_at: before.arrived_at ?? new Date(nowMs).toISOString() };
    if (kind === "report") return { ...after, stage: "reported", reported_at: new Date(nowMs).toISOString() };
    return after;
  }, one);
}

/** What the field may do with a case that has moves in the queue; the hub has not said it, its own rules do. */
export function fieldMoves(one: Case): MoveKind[] {
  if (one.stage === "dispatched") return ["accept", "return"];
  if (one.stage === "accepted") return ["handle", "report", "return"];
  return [];
}
