import { describe, expect, test } from "vitest";
import type { CaseEvent, Unit } from "../../src/api/types";
import { NO_FILTER } from "../../src/town/select";
import {
  fieldMoves,
  isOwnMove,
  listCases,
  NO_CASE_FILTER,
  nextDue,
  personOf,
  primaryMove,
  project,
  stepAt,
  STEPS,
  tasksOf,
  timersOf,
  waitsFor,
  wasOnTime,
} from "../../src/work/cases";
import { caseOf, feature, NOW, townOf } from "./sample";

const at = (minutes: number): string => new Date(NOW + minutes * 60_000).toISOString();
const deadlines = { dispatched_at: at(-10), accept: at(-5), arrive: at(20), fix: at(110) };
const UNITS: Unit[] = [
  { id: "u1", name: { zh: "一班", en: "Crew 1" }, zones: [], kinds: [], members: ["li", "zhou"], version: 1 },
];
const li = personOf("li", ["view", "handle"], UNITS);
const chen = personOf("chen", ["view", "acknowledge", "dispatch"], UNITS);
const zhao = personOf("zhao", ["view", "verify"], UNITS);

const event = (version: number, what: string, more: Partial<CaseEvent> = {}): CaseEvent => ({
  case: 1, version, at: at(-9), actor: "li", note: null, what, ...more,
});

describe("whose turn it is", () => {
  test.each([
    ["opened", {}, "chen"],
    ["dispatched", { unit: "u1", person: null }, "li"],
    ["accepted", { unit: "u1", handler: "li" }, "li"],
    ["reported", { unit: "u1", handler: "li" }, "zhao"],
    ["verified", { handler: "li", verifier: "zhao" }, "zhao"],
  ] as const)("%s waits for %o", (stage, more, who) => {
    const one = caseOf(1, { stage, ...more });
    expect([li, chen, zhao].filter((person) => waitsFor(one, person)).map(({ name }) => name)).toEqual([who]);
  });

  test("what is sent to another of the unit, or handled by oneself, does not wait", () => {
    expect(waitsFor(caseOf(1, { stage: "dispatched", unit: "u1", person: "zhou" }), li)).toBe(false);
    expect(waitsFor(caseOf(1, { stage: "dispatched", unit: "u2", person: null }), li)).toBe(false);
    expect(waitsFor(caseOf(1, { stage: "reported", handler: "zhao" }), zhao)).toBe(false);
  });
});

describe("time", () => {
  test("each stage waits for its own step", () => {
    expect(nextDue(caseOf(1))).toBeNull();
    expect(nextDue(caseOf(1, { stage: "dispatched", deadlines }))?.step).toBe("accept");
    expect(nextDue(caseOf(1, { stage: "dispatched", deadlines: { ...deadlines, accept: null } }))?.step).toBe("fix");
    expect(nextDue(caseOf(1, { stage: "accepted", deadlines }))?.step).toBe("arrive");
    expect(nextDue(caseOf(1, { stage: "accepted", deadlines, arrived_at: at(-1) }))?.step).toBe("fix");
    expect(nextDue(caseOf(1, { stage: "reported", deadlines }))).toBeNull();
  });

  test("timers tell done, late, due, overdue and what nobody noted", () => {
    const states = (one: Parameters<typeof timersOf>[0], events: CaseEvent[] = []): string[] =>
      timersOf(one, events, NOW).map(({ state }) => state);
    expect(states(caseOf(1, { stage: "dispatched", deadlines }))).toEqual(["overdue", "due", "due"]);
    const accepted = [event(2, "dispatched"), event(3, "accepted", { at: at(-6) })];
    expect(states(caseOf(1, { stage: "accepted", deadlines }), accepted)).toEqual(["done", "due", "due"]);
    const late = [event(2, "dispatched"), event(3, "accepted", { at: at(-1) })];
    expect(states(caseOf(1, { stage: "accepted", deadlines }), late)).toEqual(["late", "due", "due"]);
    expect(states(caseOf(1, { stage: "reported", deadlines, reported_at: at(-1) }), accepted)).toEqual(["done", "skipped", "done"]);
    // A second dispatch begins the acceptance anew.
    const again = [...accepted, event(4, "returned"), event(5, "dispatched")];
    expect(states(caseOf(1, { stage: "dispatched", deadlines }), again)).toEqual(["overdue", "due", "due"]);
    expect(states(caseOf(1))).toEqual([]);
  });

  test("on time is by the report, and nothing is said of what was never dispatched", () => {
    expect(wasOnTime(caseOf(1, { deadlines, reported_at: at(100) }))).toBe(true);
    expect(wasOnTime(caseOf(1, { deadlines, reported_at: at(111) }))).toBe(false);
    expect(wasOnTime(caseOf(1))).toBeNull();
  });
});

describe("the list", () => {
  const town = townOf([feature(1), feature(2), feature(3)]);
  const cases = [
    caseOf(1, { severity: "minor" }),
    caseOf(2, { severity: "critical" }),
    caseOf(3, { severity: "info", stage: "dispatched", unit: "u1", deadlines }),
    caseOf(4, { severity: "critical", stage: "closed" }),
  ];
  const ids = (own = NO_CASE_FILTER, filter = NO_FILTER, who = chen): number[] =>
    listCases(cases.slice(0, 3), town, filter, own, who, NOW).map(({ id }) => id);

  test("the overdue come first, then the worse", () => {
    expect(ids()).toEqual([3, 2, 1]);
  });

  test("narrows by turn, lateness, stage, severity and words", () => {
    expect(ids({ ...NO_CASE_FILTER, mine: true })).toEqual([2, 1]);
    expect(ids({ ...NO_CASE_FILTER, mine: true }, NO_FILTER, li)).toEqual([3]);
    expect(ids({ ...NO_CASE_FILTER, overdue: true })).toEqual([3]);
    expect(ids({ ...NO_CASE_FILTER, stages: new Set(["dispatched"]) })).toEqual([3]);
    expect(ids(NO_CASE_FILTER, { ...NO_FILTER, ranks: new Set([3]) })).toEqual([1]);
    expect(ids(NO_CASE_FILTER, { ...NO_FILTER, text: "manhole 2" })).toEqual([2]);
    expect(ids(NO_CASE_FILTER, { ...NO_FILTER, text: "#1" })).toEqual([1]);
  });
});

test("the seven steps follow the stage", () => {
  const now = (stage: Parameters<typeof caseOf>[1]): string | undefined => STEPS[stepAt(caseOf(1, stage))];
  expect(now({ stage: "opened" })).toBe("dispatch");
  expect(now({ stage: "accepted" })).toBe("handle");
  expect(now({ stage: "verified" })).toBe("close");
  expect(now({ stage: "closed" })).toBeUndefined();
});

test("the expected move stands first, and never a step back", () => {
  const accepted = caseOf(1, { stage: "accepted" });
  expect(primaryMove(accepted, ["return", "handle", "report"])).toBe("handle");
  expect(primaryMove({ ...accepted, arrived_at: at(-1) }, ["return", "handle", "report"])).toBe("report");
  expect(primaryMove(accepted, ["recall"])).toBeNull();
  expect(primaryMove(caseOf(1), ["dispatch", "close"])).toBe("dispatch");
});

describe("the queue", () => {
  test("shows a case as it will be", () => {
    const one = caseOf(1, { stage: "dispatched", version: 4, unit: "u1", person: null });
    const accept = { kind: "accept", version: 4, body: {} } as const;
    const handle = { kind: "handle", version: 5, body: {} } as const;
    const report = { kind: "report", version: 6, body: {} } as const;
    const after = project(one, [accept, handle, report], "li", NOW);
    expect(after).toMatchObject({ stage: "reported", version: 7, handler: "li", arrived_at: at(0) });
    expect(fieldMoves(after)).toEqual([]);
    expect(project(one, [{ ...accept, kind: "return" }], "li", NOW).unit).toBeUndefined();
    expect(tasksOf([after, one], li, NOW).map(({ stage }) => stage)).toEqual(["dispatched", "reported"]);
  });

  test("knows its own move in the log, and nobody else's", () => {
    const move = { kind: "handle", version: 4, body: { note: "pump runs " } } as const;
    const own = event(5, "handled", { note: "pump runs" });
    expect(isOwnMove([own], move, "li")).toBe(true);
    expect(isOwnMove([own], move, "zhou")).toBe(false);
    expect(isOwnMove([event(5, "handled", { note: "other" })], move, "li")).toBe(false);
    expect(isOwnMove([event(5, "attached", { note: "pump runs" })], move, "li")).toBe(false);
    expect(isOwnMove([{ ...own, version: 6 }], move, "li")).toBe(false);
  });
});
