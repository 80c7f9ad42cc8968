import { describe, expect, it } from "vitest";
import { octal, pollLine, publishLine, quoted, reach } from "../../src/pages/connect/lines";
import { alertSpans, bothForms, historyLine, limitsOf, type StepRow } from "../../src/pages/device/history";
import { sorted, type Row } from "../../src/pages/devices/list";
import { byLabel, grown, parseMetrics } from "../../src/pages/health/metrics";
import { bytesText, pageOf, remarks, type Seen } from "../../src/pages/health/troubles";

describe("a line for the terminal", () => {
  const to = { host: "hub", port: 1883, tls: false, user: "mh-1", password: "s3", device: "mh-1" };

  it("publishes the example as this device, quoted for a shell", () => {
    const example = { topic: "devices/{device}/telemetry", text: `{"id":"{device}","t":"it's"}`, hex: null, observed_at: null };
    expect(publishLine({ ...to, example })).toBe(
      `mosquitto_pub -h hub -p 1883 -u mh-1 -P s3 -q 1 -t devices/mh-1/telemetry -m '{"id":"mh-1","t":"it'\\''s"}'`,
    );
    expect(publishLine({ ...to, tls: true, client: "x", example: null })).toContain("--tls-use-os-certs -i x -u");
  });

  it("sends bytes that are no text through printf", () => {
    const example = { topic: "t/{device}", text: null, hex: "a55a00", observed_at: null };
    expect(publishLine({ ...to, example })).toBe("printf '\\245\\132\\000' | mosquitto_pub -h hub -p 1883 -u mh-1 -P s3 -q 1 -t t/mh-1 -s");
    expect(octal("ff")).toBe("\\377");
    expect(quoted("a b")).toBe("'a b'");
  });

  it("reads a register over TCP and a serial line, and says when it cannot", () => {
    const register = { table: "input", address: 7, count: 2, metric: "level" };
    expect(pollLine("10.0.0.7:502", 3, register)).toBe("mbpoll -m tcp -p 502 -a 3 -t 3 -0 -r 7 -c 2 -1 10.0.0.7");
    expect(pollLine("rtu:///dev/ttyUSB0?baud=19200&parity=even", 3, register)).toContain("-m rtu -b 19200 -P even -s 1");
    expect(pollLine("rtu+tcp://10.0.0.8:4001", 3, register)).toBeNull();
  });

  it("knows where the hub is reached", () => {
    const doors = { host: "0.0.0.0", port: 1883, tls_port: null, max_connections: 9 };
    expect(reach(doors, "town.example")).toEqual({ host: "town.example", isLocal: false });
    expect(reach({ ...doors, host: "127.0.0.1" }, "town.example")).toEqual({ host: "127.0.0.1", isLocal: true });
  });
});

describe("a stretch of history", () => {
  const row = (s: number, mean: number | null, good: number): StepRow => [s * 1000, mean, mean, mean, mean, 1, good, mean, null];

  it("breaks the line at a hole and marks what is doubtful", () => {
    const line = historyLine([row(0, 1, 1), row(300, 2, 0.5), row(600, null, 0), row(900, 3, 1), row(3000, 4, 1)], 300, false);
    expect(line.values).toEqual([1, 2, null, 3, null, 4]);
    expect(line.doubts).toEqual([{ from: 300, to: 900 }]);
  });

  it("takes limits from the rules in force, worst first", () => {
    const rule = (in_force: boolean, ladder: object[]) =>
      ({ metric: "level", kind: "limit", in_force, rule: { ladder }, from: { rungs: { override: "low", scope: "zone" } } }) as never;
    const limits = limitsOf([rule(true, [{ above: 1, severity: "major" }, { above: 2, severity: "critical" }]), rule(false, [{ above: 9, severity: "info" }])], "level");
    expect(limits.map(({ at, severity, override }) => [at, severity, override])).toEqual([
      [2, "critical", "low"],
      [1, "major", "low"],
    ]);
  });

  it("cuts an alert's time to the stretch", () => {
    const alert = { metric: "level", raised_at: "1970-01-01T00:00:10Z", cleared_at: null, worst: "major" } as never;
    expect(alertSpans([alert], "level", { from: 20, to: 90 })).toEqual([{ from: 20, to: 90, severity: "major" }]);
    expect(alertSpans([alert], "ch4", { from: 20, to: 90 })).toEqual([]);
  });

  it("shows a payload as text and as bytes", () => {
    expect(bothForms("é")).toEqual({ text: "é", hex: "c3 a9", bytes: 2 });
    expect(bothForms("hex:00ff")).toEqual({ text: null, hex: "00 ff", bytes: 2 });
  });
});

describe("the hub's health", () => {
  it("reads Prometheus' text", () => {
    const figures = parseMetrics('# HELP x\ntownhub_a{reason="bad",q="x\\"y"} 3\ntownhub_b 4\nnonsense\n');
    expect(figures).toHaveLength(2);
    expect(byLabel(figures, "townhub_a", "reason").get("bad")).toBe(3);
    expect(grown(new Map([["a", 1]]), new Map([["a", 1], ["b", 2]]))).toEqual([["b", 2]]);
  });

  it("adds what is wrong in the town to the hub's own troubles", () => {
    const unit = (device: string, up: boolean | null) => ({ device, up, last_error: null });
    const bus = (connected: boolean, units: object[]) => ({ endpoint: "a:502", connected, units });
    const seen = (dead: number, buses: object[]) => ({ status: { devices: { dead } }, buses }) as unknown as Seen;
    expect(remarks(seen(0, [bus(true, [unit("a", true), unit("b", null)])]))).toEqual([]);
    // What stands behind a bus that is away is the bus's trouble.
    expect(remarks(seen(2, [bus(true, [unit("a", false)]), bus(false, [unit("b", false)])]))).toEqual([
      { is: "unit", with: { device: "a", why: "" } },
      { is: "dead", with: { count: 2 } },
    ]);
    expect([pageOf("channel"), pageOf("disk")]).toEqual(["notifications", undefined]);
    expect(bytesText(1_500)).toBe("1.5 kB");
  });

  it("lists trouble first", () => {
    const row = (id: string, freshness: Row["freshness"], undecoded_total = 0) => ({ id, freshness, undecoded_total }) as Row;
    const rows = [row("a", "fresh"), row("b", "stale"), row("c", "dead"), row("d", "fresh", 2), row("e", "never")];
    expect(sorted(rows, undefined).map(({ id }) => id)).toEqual(["c", "b", "e", "d", "a"]);
    expect(sorted(rows, "undecoded").map(({ id }) => id)).toEqual(["d"]);
  });
});
