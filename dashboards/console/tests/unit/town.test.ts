import { describe, expect, test } from "vitest";
import type { LiveEvent, Shown } from "../../src/live/events";
import { EMPTY_TOWN, fromSnapshot, reduce, withAlert } from "../../src/town/town";
import { alert, feature, mapOf, NOW, townOf } from "./sample";

const at = (seq: number, epoch = "3") => ({ epoch, seq });
const RED: Shown = { severity: 1, acknowledged: false, freshness: "fresh", state: null, grade: "good" };
const red = (asset: number, seq: number): LiveEvent => ({ type: "state", at: at(seq), changes: [[asset, RED]] });

describe("a snapshot and its events", () => {
  test("a snapshot sets assets, open alerts, the position and the hub's clock", () => {
    const closed = alert(2, { active: false, acknowledged_at: "2026-07-01T07:30:00Z" });
    const town = fromSnapshot(mapOf([feature(1), feature(2)]), [alert(1), closed], [], EMPTY_TOWN, NOW);
    expect(town.position).toEqual(at(10));
    expect([...town.assets.keys()]).toEqual([1, 2]);
    expect([...town.alerts.keys()]).toEqual([1]);
    expect(town.clockOffsetMs).toBe(5_000);
  });

  test("a thing on a shifted map is still where it is", () => {
    const town = townOf([feature(1, { position: [120.4851, 30.74536] }), feature(2)]);
    expect(town.assets.get(1)?.place).toEqual([120.4851, 30.74536]);
    expect(town.assets.get(1)?.anchor).not.toEqual([120.4851, 30.74536]);
    expect(town.assets.get(2)?.place).toEqual(town.assets.get(2)?.anchor);
  });

  test("a state event changes what is shown and moves the position", () => {
    const before = townOf([feature(1), feature(2)]);
    const town = reduce(before, [red(1, 11)], NOW);
    expect(town.shown.get(1)).toEqual(RED);
    expect(town.position).toEqual(at(11));
    expect(before.shown.get(1)?.severity).toBe(0);
    expect(town.alerts).toBe(before.alerts);
  });

  test("what the snapshot already holds is not applied again", () => {
    const town = townOf([feature(1)]);
    expect(reduce(town, [red(1, 10)], NOW).shown).toBe(town.shown);
  });

  test("events before any snapshot change nothing", () => {
    expect(reduce(EMPTY_TOWN, [red(1, 11)], NOW).shown.size).toBe(0);
  });

  test("an alert is raised, acknowledged, and leaves when it has also cleared", () => {
    let town = townOf([feature(1)]);
    town = reduce(town, [{ type: "alert", at: at(11), alert: alert(7) }], NOW);
    expect(town.alerts.get(7)?.version).toBe(1);
    const acknowledged = alert(7, { version: 2, acknowledged_at: "2026-07-01T08:00:00Z" });
    town = reduce(town, [{ type: "alert", at: at(12), alert: acknowledged }], NOW);
    expect(town.alerts.get(7)?.version).toBe(2);
    town = reduce(town, [{ type: "alert", at: at(13), alert: { ...acknowledged, version: 3, active: false } }], NOW);
    expect(town.alerts.has(7)).toBe(false);
  });

  test("an older version that comes late does not undo an acknowledgement", () => {
    const town = withAlert(townOf([feature(1)], [alert(7)]), alert(7, { version: 2, acknowledged_at: "2026-07-01T08:00:00Z" }));
    const late = reduce(town, [{ type: "alert", at: at(11), alert: alert(7) }], NOW);
    expect(late.alerts.get(7)?.version).toBe(2);
  });

  test("values are ordered by their own time, not by their place in the feed", () => {
    const value = (v: number, observedAtMs: number): LiveEvent => ({
      type: "value",
      at: at(10),
      changes: [{ asset: 1, device: "d", metric: "m", value: v, grade: "good", reason: null, observedAtMs }],
    });
    const town = reduce(townOf([feature(1)]), [value(2, 2_000), value(1, 1_000)], NOW);
    expect(town.values.get("d/m")?.value).toBe(2);
  });

  test("a beat sets the clock and nothing else", () => {
    const before = townOf([feature(1)]);
    const town = reduce(before, [{ type: "beat", at: at(10), serverMs: NOW + 900 }], NOW);
    expect(town.clockOffsetMs).toBe(900);
    expect(town.shown).toBe(before.shown);
  });
});

describe("a broken feed asks for a new snapshot", () => {
  test("a foreign epoch", () => {
    const town = reduce(townOf([feature(1)]), [{ type: "hello", at: at(1, "4"), serverMs: NOW }], NOW);
    expect(town.reload).toBe("epoch");
  });

  test("a gap that the hub tells of", () => {
    const town = reduce(townOf([feature(1)]), [{ type: "reload", at: at(900), reason: "gap" }], NOW);
    expect(town.reload).toBe("gap");
  });

  test("an asset that the snapshot does not know", () => {
    expect(reduce(townOf([feature(1)]), [red(99, 11)], NOW).reload).toBe("gap");
  });

  test("nothing is applied between the break and the new snapshot", () => {
    const town = reduce(townOf([feature(1)]), [{ type: "reload", at: at(900), reason: "gap" }, red(1, 901)], NOW);
    expect(town.shown.get(1)?.severity).toBe(0);
    expect(fromSnapshot(mapOf([feature(1)], 905), [], [], town, NOW).reload).toBeNull();
  });
});
