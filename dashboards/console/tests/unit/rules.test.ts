import { describe, expect, it } from "vitest";
import { causeText } from "../../src/pages/notifications/failure";
import { faultOf, sourceOf } from "../../src/pages/profiles/profile";
import { milliseconds, readSpan } from "../../src/pages/rules/duration";
import { draftOf, lackOf, newDraft, ownRuleOf } from "../../src/pages/rules/own";
import { columnOf, linesOf, place, type Rehearsed } from "../../src/pages/rules/rehearsal";
import {
  faultsOf, fieldsOf, findOverride, flatten, groupRules, isWanted, means, newId, patchOf, scopeFor, strongerThan, unflatten, valuesOf, withValues,
  type Effective, type Override, type OwnPage, type Patch, type Rung,
} from "../../src/pages/rules/rule";
import { conditionText, delayText, faultText, limitText, patchTexts } from "../../src/pages/rules/tell";

const LADDER = {
  text: { zh: "水位偏高", en: "Level high" }, for: "1min", clear_for: "3min",
  ladder: [
    { severity: "major", above: 1.8, clear: 1.6 },
    { severity: "critical", above: 2.5, clear: 2.3, text: { zh: "溢流", en: "Surcharging" } },
  ],
};

function rule(device: string, more: Partial<Record<keyof Effective, unknown>> = {}): Effective {
  return {
    device, metric: "level", name: "high", kind: "limit", asset: device.toUpperCase(), zone: "xizha", unit: "m", origin: { profile: "wz-mh1" },
    enabled: true, in_force: true, rule: LADDER, from: {}, problems: [], ...more,
  } as unknown as Effective;
}

function override(id: string, scope: Override["scope"], set: Patch, select: Override["select"] = { profile: "wz-mh1", metric: "level", rule: "high" }): Override {
  return { id, version: 1, scope, select, set, changed_by: "wei", changed_at: "2026-06-01T00:00:00Z" };
}

describe("the list of rules", () => {
  it("tells what is the same for many devices once, the exception under it", () => {
    const own = rule("mh-2", { from: { rungs: { override: "x", scope: "device" } }, rule: { ...LADDER, for: "2min" } });
    const groups = groupRules([rule("mh-1"), own, rule("mh-3"), rule("mh-1", { metric: null, name: "no_data" })]);
    expect(groups.map(({ devices }) => devices)).toEqual([["mh-1", "mh-3"], ["mh-2"], ["mh-1"]]);
  });

  it("finds by device, asset, name in either language, metric and source", () => {
    const all = { q: "", metric: "", from: "" };
    const name = () => "子夜路4号井";
    expect(isWanted(rule("mh-1"), { ...all, q: "子夜路" }, name)).toBe(true);
    expect(isWanted(rule("mh-1"), { ...all, q: "LEVEL HIGH" }, name)).toBe(true);
    expect(isWanted(rule("mh-1"), { ...all, q: "nothing" }, name)).toBe(false);
    expect(isWanted(rule("mh-1"), { ...all, metric: "ch4" }, name)).toBe(false);
    expect(isWanted(rule("mh-1"), { ...all, from: "override" }, name)).toBe(false);
    expect(isWanted(rule("mh-1", { origin: { own: "head" } }), { ...all, from: "own" }, name)).toBe(true);
    expect(isWanted(rule("mh-1", { in_force: false }), { ...all, from: "off" }, name)).toBe(true);
  });
});

describe("a rule's fields", () => {
  it("are read from a ladder and from one limit alike", () => {
    expect(fieldsOf(LADDER).rungs.map(({ severity, limit, clear }) => [severity, limit, clear])).toEqual([["major", 1.8, 1.6], ["critical", 2.5, 2.3]]);
    const one = fieldsOf({ below: 3.3, clear: 3.4, severity: "minor", text: "x" });
    expect([one.side, one.rungs[0]?.limit, one.rungs[0]?.severity]).toEqual(["below", 3.3, "minor"]);
    expect(fieldsOf("nonsense").rungs).toEqual([]);
  });

  it("read as a sentence", () => {
    expect(delayText(fieldsOf(LADDER), "en")).toBe("1 min to raise, 3 min to clear");
    expect(conditionText("fall", fieldsOf({ fall: "1min", ladder: [] }), [], "kPa", "zh")).toBe("1 分钟 内下降");
    const states = [{ code: 1, name: "open", label: { zh: "打开", en: "Open" } }];
    expect(conditionText("state", fieldsOf({ equals: 1, severity: "critical" }), states, "1", "en")).toBe("state is Open");
    expect(limitText(2.5, "m", "zh")).toBe("2.50 m");
    expect(limitText(3.335, "V", "en")).toBe("3.335 V");
  });
});

describe("a change", () => {
  const fields = fieldsOf(LADDER);
  const shown = valuesOf(fields, true);

  it("sets only what is another value than before", () => {
    expect(patchOf({}, shown, { "rungs.critical.limit": 2.2, for: "1min" }, new Set())).toEqual({ rungs: { critical: { limit: 2.2 } } });
    expect(patchOf({}, shown, {}, new Set())).toEqual({});
  });

  it("keeps what the override sets already, but for what is dropped, and sets words whole", () => {
    const already = flatten({ for: "5min", rungs: { major: { limit: 1.7 } } });
    expect(patchOf(already, { ...shown, ...already }, { "text.en": "Too high" }, new Set(["for"]))).toEqual({
      rungs: { major: { limit: 1.7 } }, text: { zh: "水位偏高", en: "Too high" },
    });
  });

  it("goes to and fro between its JSON and the form", () => {
    const set: Patch = { enabled: false, clear_for: "3min", rungs: { major: { limit: 1, clear: 0.5 } }, flap: { times: 3, within: "5min" }, schedule: "always" };
    expect(unflatten(flatten(set))).toEqual(set);
  });

  it("is shown as the rule that it makes", () => {
    const made = withValues(fields, { "rungs.major.limit": 1.5, schedule: "season" });
    expect([made.rungs[0]?.limit, made.rungs[1]?.limit, made.schedule]).toEqual([1.5, 2.5, "season"]);
    expect(withValues(fields, { schedule: "always" }).schedule).toBeNull();
  });

  it("counts where it says, finds its page, and knows who wins over it", () => {
    const at = { device: "mh-1", zone: "xizha", kind: "manhole" as const };
    expect(scopeFor("zone_kind", at)).toEqual({ zone: "xizha", kind: "manhole" });
    expect(scopeFor("zone", { ...at, zone: null })).toBeNull();
    const pages = [override("a", { zone: "xizha" }, { for: "1min" }), override("b", { zone: "xizha", kind: "manhole" }, { for: "2min" })];
    expect(findOverride(pages, { zone: "xizha", kind: "manhole" }, pages[1]?.select ?? {})?.id).toBe("b");
    expect(findOverride(pages, { zone: "xizha" }, { metric: "level", rule: "high" })).toBeNull();
    const ruled = rule("mh-1", { from: { rungs: { override: "mine", scope: "device" }, for: { override: "town", scope: "town" } } });
    expect(strongerThan("zone", ruled, ["rungs", "for"])).toEqual(["mine"]);
    expect(strongerThan("device", ruled, ["rungs"])).toEqual([]);
    expect(means(pages[1] as Override, ruled, "manhole", "wz-mh1")).toBe(true);
    expect(means(pages[1] as Override, ruled, "pipe", "wz-mh1")).toBe(false);
  });

  it("gets a name that the hub takes and nobody has", () => {
    expect(newId(["XiZha", "manhole", null, "level up"], new Set())).toBe("xizha-manhole-level-up");
    expect(newId(["a"], new Set(["a", "a-2"]))).toBe("a-3");
    expect(newId(["井"], new Set())).toBe("rule");
    expect(newId(["always"], new Set())).not.toBe("always");
  });

  it("is told in words", () => {
    expect(patchTexts({ enabled: false, rungs: { critical: { limit: 2.2 } }, for: "90s" }, "en")).toEqual(["off", "Critical: Raises 2.2", "Delay to raise: 1 min"]);
  });
});

describe("faults of a ladder", () => {
  const rung = (severity: Rung["severity"], limit: number, clear: number): Rung => ({ severity, limit, clear, text: null });
  const found = (side: "above" | "below", rungs: Rung[], range: [number, number] | null = null) => faultsOf(side, rungs, range).map(({ is }) => is);

  it("are those that the hub would refuse", () => {
    expect(found("above", [rung("major", 1.8, 1.6), rung("critical", 2.5, 2.3)], [0, 6])).toEqual([]);
    expect(found("above", [rung("major", 1.8, 1.9)])).toEqual(["side"]);
    expect(found("below", [rung("major", 1.8, 1.7)])).toEqual(["side"]);
    expect(found("above", [rung("major", 6, 5)], [0, 6])).toEqual(["never"]);
    expect(found("above", [rung("major", -1, -1)], [0, 6])).toEqual(["always"]);
    expect(found("above", [rung("major", 1, -1)], [0, 6])).toEqual(["stuck"]);
    expect(found("above", [rung("major", 2.6, 2.3), rung("critical", 2.5, 2.3)])).toEqual(["order"]);
    expect(found("below", [rung("major", 100, 120), rung("critical", 140, 150)])).toEqual(["order"]);
    expect(found("above", [rung("major", 1, 1), rung("major", 2, 2)])).toEqual(["twice"]);
    expect(found("above", [rung("major", Number.NaN, 1)])).toEqual(["number"]);
    expect(found("above", [])).toEqual(["none"]);
  });

  it("are told with their numbers", () => {
    const [fault] = faultsOf("above", [rung("major", 1.8, 1.9)], null);
    expect(fault && faultText(fault, "m", "zh")).toBe("紧急:恢复值 1.90 m 不能高于触发值 1.80 m");
  });
});

describe("a rule of the town's own", () => {
  it("is written with a profile's keys", () => {
    const draft = { ...newDraft("mh-1", "level"), rungs: [{ severity: "critical" as const, limit: 2, clear: 1.8 }, { severity: "minor" as const, limit: 1, clear: 0.8 }], zh: "高", en: "High" };
    expect(ownRuleOf(draft)).toEqual({
      device: "mh-1", metric: "level",
      rule: { ladder: [{ severity: "minor", above: 1, clear: 0.8 }, { severity: "critical", above: 2, clear: 1.8 }], for: "1min", clear_for: "3min", text: { zh: "高", en: "High" } },
    });
    expect(ownRuleOf({ ...draft, kind: "state", equals: "1" }).rule).toMatchObject({ equals: 1, severity: "minor" });
    expect(ownRuleOf({ ...draft, kind: "fall", window: "1min", rungs: draft.rungs.slice(0, 1) }).rule).toMatchObject({ fall: "1min", above: 2, clear: 1.8, severity: "critical" });
  });

  it("comes back from its page as it was", () => {
    const page = {
      id: "head", version: 2, device: "sg-1", inputs: { up: { device: "cl-1", metric: "level" }, down: { device: "cl-2", metric: "level", max_age: "1h" } },
      rule: { when: "up - down > 0.5", for: "5min", clear_for: "0s", severity: "major", text: { zh: "落差", en: "Head" } }, changed_by: "wei", changed_at: "",
    } as unknown as OwnPage;
    const { device, inputs, rule: body } = ownRuleOf(draftOf(page));
    expect({ device, inputs, rule: body }).toEqual({ device: page.device, inputs: page.inputs, rule: page.rule });
  });

  it("says what it lacks", () => {
    expect(lackOf(newDraft())).toBe("device");
    expect(lackOf(newDraft("mh-1"))).toBe("metric");
    expect(lackOf(newDraft("mh-1", "level"))).toBe("text");
    expect(lackOf({ ...newDraft("mh-1"), kind: "condition", when: "a > 1", zh: "x", en: "x" })).toBe("inputs");
    expect(lackOf({ ...newDraft("mh-1", "level"), zh: "x", en: "x" })).toBeNull();
  });
});

describe("a dry run", () => {
  const sums = { raised: 1, raised_per_day: 1, active_s: 60, longest_s: 60, is_active: true, worst: "major", by_severity: { major: 1 } };
  const answer = {
    from: "2026-06-01T00:00:00Z", to: "2026-06-01T10:00:00Z", recorded: null, present: null,
    proposed: { readings: 5, judged: 4, truncated: false, sums, spells: [{ since: "2026-06-01T04:59:00Z", raised: "2026-06-01T05:00:00Z", cleared: null, severity: "major", value: 2, peak: 3 }] },
  } as Rehearsed;

  it("lists what would be raised, and where in the time it lies", () => {
    expect(columnOf(answer, "present")).toBeNull();
    const [one] = columnOf(answer, "proposed")?.raisings ?? [];
    expect(one).toMatchObject({ severity: "major", toMs: null, peak: 3 });
    expect(one && place(one, Date.parse(answer.from), Date.parse(answer.to))).toEqual({ left: 50, width: 50 });
  });

  it("draws limits of the value only", () => {
    expect(linesOf("limit", fieldsOf(LADDER)).map(({ at }) => at)).toEqual([1.8, 2.5]);
    expect(linesOf("rise", fieldsOf(LADDER))).toEqual([]);
  });
});

describe("words of the hub", () => {
  it("are durations", () => {
    expect(readSpan("15min")).toEqual({ count: 15, unit: "min" });
    expect(readSpan("5m")).toBeNull();
    expect(milliseconds("2h")).toBe(7_200_000);
  });

  it("are faults of a profile with their place", () => {
    expect(faultOf("a/b.toml:15:2: no `expect_every`\n 15 | [staleness]", "a/b.toml")).toEqual({ line: 15, column: 2, text: "no `expect_every`", excerpt: " 15 | [staleness]" });
    expect(faultOf("two profiles have the id x", "b.toml")).toMatchObject({ line: null, text: "two profiles have the id x" });
    const toml = '[source.mqtt]\ntopic   = "a/{device}/up"\npayload = "json"\n\n[staleness]\npayload = "no"\n';
    expect(sourceOf(toml)).toEqual({ payload: "json", topic: "a/{device}/up" });
    expect(sourceOf(null)).toEqual({ payload: null, topic: null });
  });

  it("are causes of a failed message", () => {
    expect(causeText("connection refused", "zh")).toBe("对方没有在听(连接被拒绝)");
    expect(causeText("HTTP 502 Bad Gateway", "en")).toBe("it answered HTTP 502");
    expect(causeText("something else", "en")).toBeNull();
  });
});
