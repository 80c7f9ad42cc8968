/** The smaller pieces of work: commands, photos, the way there, how alerts stand. */

import { describe, expect, test } from "vitest";
import type { Command } from "../../src/api/types";
import { actionOf } from "../../src/keys";
import { countAlerts, countAside, listAlerts, NO_FILTER, standingOf } from "../../src/town/select";
import { reduce } from "../../src/town/town";
import { isNumberOf, orderStep, progress, targetFault } from "../../src/work/gate";
import { navigationLink } from "../../src/work/navigate";
import { photoType } from "../../src/work/photo";
import { alert, caseOf, feature, NOW, townOf } from "./sample";

const ARG = { unit: "%", range: [0, 100] as [number, number], step: 0.1, max_change: 50, from: "opening" };

test.each([
  [null, "empty"], [Number.NaN, "empty"], [101, "range"], [-0.1, "range"], [42.05, "step"], [30, "same"], [81, "change"],
  [80, null], [42, null], [0.3, null],
])("a target of %s is %s", (target, fault) => {
  expect(targetFault(target, 30, ARG)).toBe(fault);
});

test("a command shows how far it has come", () => {
  const base = { state: "executing", step: "writing", sent_at: "2026-07-01T08:00:00Z", present: 20, target: 40 } as Command;
  expect(orderStep({ ...base, state: "selected" })).toBe("selected");
  expect(orderStep(base)).toBe("sent");
  expect(orderStep({ ...base, step: "in_doubt" })).toBe("echo");
  expect(orderStep({ ...base, step: "moving" })).toBe("moving");
  expect(orderStep({ ...base, state: "reached", step: null })).toBe("reached");
  expect(progress(base, 25)).toBe(0.25);
  expect(progress({ ...base, target: 0 }, 5)).toBe(0.75);
  expect(progress(base, 50)).toBe(1);
  expect(progress(base, null)).toBeNull();
});

test("a gate's number is typed whole, however it is written", () => {
  expect(isNumberOf(" zm-07 ", "ZM-07")).toBe(true);
  expect(isNumberOf("ZM-0", "ZM-07")).toBe(false);
  expect(isNumberOf("", "")).toBe(false);
});

test("photos are told by their first bytes", () => {
  const bytes = (...all: number[]): Uint8Array => new Uint8Array(all);
  expect(photoType(bytes(0xff, 0xd8, 0xff, 0xe0))).toBe("image/jpeg");
  expect(photoType(bytes(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a))).toBe("image/png");
  expect(photoType(new TextEncoder().encode("RIFF0000WEBP"))).toBe("image/webp");
  expect(photoType(new TextEncoder().encode("RIFF0000WAVE"))).toBeNull();
  expect(photoType(new TextEncoder().encode("<svg/>"))).toBeNull();
  expect(photoType(bytes())).toBeNull();
});

test("the way there is a link that the phone knows", () => {
  expect(navigationLink([120.485, 30.745], "1号井", "Android")).toBe("geo:30.745000,120.485000?q=30.745000,120.485000(1%E5%8F%B7%E4%BA%95)");
  expect(navigationLink([120.485, 30.745], "a", "iPhone OS 17")).toBe("maps:?daddr=30.745000,120.485000&q=a");
});

describe("alerts that do not ring", () => {
  const at = "2026-07-01T07:00:00Z";
  const none = { shelved: null, suppressed: null, out_of_service: null };
  const shelved = { ...none, shelved: { by: "zhao", reason: "x", at, until: at } };
  const suppressed = { ...none, suppressed: { cause: { gateway: "gw" }, at } };
  const town = townOf([feature(1)], [
    alert(1), alert(2, { standing: none }), alert(3, { standing: shelved }), alert(4, { standing: { ...shelved, ...suppressed, shelved: shelved.shelved } }),
  ]);

  test("are counted apart and listed when asked for", () => {
    expect(countAlerts(town)[3].open).toBe(2);
    expect(countAside(town)).toEqual({ annunciated: 2, shelved: 2, suppressed: 0, out_of_service: 0 });
    expect(listAlerts(town, NO_FILTER, null).map(({ id }) => id)).toEqual([2, 1]);
    expect(listAlerts(town, { ...NO_FILTER, standing: "shelved" }, null)).toHaveLength(2);
    expect(standingOf(alert(5, { standing: suppressed }))).toBe("suppressed");
  });
});

describe("the feed", () => {
  const at = { epoch: "3", seq: 11 };

  test("tells which way a severity went", () => {
    const town = townOf([feature(1)], [alert(1, { severity: "minor" })]);
    const up = reduce(town, [{ type: "alert", at, alert: alert(1, { severity: "critical", version: 2 }) }], NOW);
    expect(up.moved.get(1)).toBe("up");
    const down = reduce(up, [{ type: "alert", at: { ...at, seq: 12 }, alert: alert(1, { severity: "major", version: 3 }) }], NOW);
    expect(down.moved.get(1)).toBe("down");
    const same = reduce(town, [{ type: "alert", at, alert: alert(1, { version: 2 }) }], NOW);
    expect(same.moved.size).toBe(0);
  });

  test("brings cases, keeps the newer one and lets go of the closed", () => {
    const town = townOf([feature(1)], [], [caseOf(1, { version: 5 })]);
    const tell = (one: ReturnType<typeof caseOf>) => reduce(town, [{ type: "case", at, case: one }], NOW).cases;
    expect(tell(caseOf(1, { version: 4, stage: "reported" })).get(1)?.stage).toBe("opened");
    expect(tell(caseOf(1, { version: 6, stage: "reported" })).get(1)?.stage).toBe("reported");
    expect(tell(caseOf(1, { version: 6, stage: "closed" })).size).toBe(0);
    expect(tell(caseOf(2)).size).toBe(2);
  });
});

test("a capital X picks all, a small one picks one; neither is a shortcut of the browser", () => {
  const press = (key: string, ctrlKey = false) => ({ key, ctrlKey, metaKey: false, altKey: false, isComposing: false });
  expect(actionOf(press("x"), false)).toEqual({ do: "pick" });
  expect(actionOf(press("X"), false)).toEqual({ do: "pick-all" });
  expect(actionOf(press("A"), false)).toEqual({ do: "primary" });
  expect(actionOf(press("x", true), false)).toBeNull();
  expect(actionOf(press("x"), true)).toBeNull();
});
