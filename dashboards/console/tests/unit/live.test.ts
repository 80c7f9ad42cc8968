import { describe, expect, test } from "vitest";
import { readEvent, readPosition } from "../../src/live/events";
import { Fanout, type FeedMessage, type Stream, type Subscriber, type Surroundings } from "../../src/live/fanout";
import { liveness, silentMs, STALE_AFTER_MS } from "../../src/live/link";

class FakeStream implements Stream {
  readyState = 1;
  onerror: ((event: Event) => unknown) | null = null;
  private readonly listeners = new Map<string, (event: MessageEvent<string>) => void>();
  constructor(readonly url: string) {}
  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void {
    this.listeners.set(name, listener);
  }
  close(): void {
    this.readyState = 2;
  }
  say(name: string, lastEventId: string, data = "[]"): void {
    this.listeners.get(name)?.({ lastEventId, data } as MessageEvent<string>);
  }
  refuse(): void {
    this.readyState = 2;
    this.onerror?.({} as Event);
  }
}

class World implements Surroundings {
  streams: FakeStream[] = [];
  private now = 0;
  private timers: { at: number; act: () => void }[] = [];
  open(url: string): Stream {
    const stream = new FakeStream(url);
    this.streams.push(stream);
    return stream;
  }
  nowMs(): number {
    return this.now;
  }
  after(ms: number, act: () => void): () => void {
    const timer = { at: this.now + ms, act };
    this.timers.push(timer);
    return () => void (this.timers = this.timers.filter((other) => other !== timer));
  }
  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.timers = this.timers.filter((other) => other !== due);
      this.now = due.at;
      due.act();
    }
    this.now = end;
  }
  get stream(): FakeStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error("no stream was opened");
    return stream;
  }
}

class Page implements Subscriber {
  heard: string[] = [];
  downs = 0;
  tell(message: FeedMessage): void {
    if (message.tell === "down") this.downs += 1;
    else this.heard.push(...message.events.map(({ name, id }) => `${name} ${id}`));
  }
}

function follow(fanout: Fanout, since: string): Page {
  const page = new Page();
  fanout.handle(page, { ask: "follow", since });
  return page;
}

describe("reading the stream", () => {
  test("a position is epoch and seq", () => {
    expect(readPosition("7-12")).toEqual({ epoch: "7", seq: 12 });
    expect(readPosition("ab-cd-3")).toEqual({ epoch: "ab-cd", seq: 3 });
    for (const bad of ["", "7", "-3", "7-x"]) expect(readPosition(bad)).toBeNull();
  });

  test("flat arrays become words", () => {
    expect(readEvent("state", "7-1", "[[5,2,1,1,3,2]]")).toEqual({
      type: "state",
      at: { epoch: "7", seq: 1 },
      changes: [[5, { severity: 2, acknowledged: true, freshness: "stale", state: 3, grade: "bad" }]],
    });
  });

  test("what is not as agreed is nothing", () => {
    expect(readEvent("state", "7-1", "{")).toBeNull();
    expect(readEvent("state", "none", "[]")).toBeNull();
  });
});

describe("liveness", () => {
  const link = { openedAtMs: 0, heardAtMs: 1_000 };
  test.each([
    [1_000, "live"],
    [15_999, "live"],
    [16_000, "late"],
    [1_000 + STALE_AFTER_MS - 1, "late"],
    [1_000 + STALE_AFTER_MS, "stale"],
  ])("at %i ms it is %s", (now, expected) => {
    expect(liveness(link, now)).toBe(expected);
  });

  test("a stream that never spoke is connecting, then stale", () => {
    const silent = { openedAtMs: 500, heardAtMs: null };
    expect(liveness(silent, 600)).toBe("connecting");
    expect(liveness(silent, 30_500)).toBe("stale");
    expect(silentMs(silent, 600)).toBeNull();
  });
});

describe("one stream for all pages", () => {
  test("two pages share a stream, and the second goes on from its own snapshot", () => {
    const world = new World();
    const fanout = new Fanout(world);
    const first = follow(fanout, "7-10");
    world.stream.say("state", "7-11");
    world.stream.say("alert", "7-12");
    const second = follow(fanout, "7-11");
    expect(world.streams).toHaveLength(1);
    expect(world.stream.url).toBe("/api/v1/live?since=7-10");
    expect(first.heard).toEqual(["state 7-11", "alert 7-12"]);
    expect(second.heard).toEqual(["alert 7-12"]);
  });

  test("a page whose snapshot is older than the ring reads the map again", () => {
    const world = new World();
    const fanout = new Fanout(world);
    follow(fanout, "7-10");
    expect(follow(fanout, "7-3").heard).toEqual(["reload 7-10"]);
  });

  test("the ring is bounded, and a page behind it is told of the gap", () => {
    const world = new World();
    const fanout = new Fanout(world);
    follow(fanout, "7-0");
    for (let seq = 1; seq <= 5_000; seq += 1) world.stream.say("state", `7-${seq}`);
    expect(follow(fanout, "7-1").heard).toEqual(["reload 7-5000"]);
    expect(follow(fanout, "7-4999").heard).toEqual(["state 7-5000"]);
  });

  test("a page with a snapshot of a new epoch moves the stream", () => {
    const world = new World();
    const fanout = new Fanout(world);
    follow(fanout, "7-10");
    follow(fanout, "8-2");
    expect(world.streams[0]?.readyState).toBe(2);
    expect(world.stream.url).toBe("/api/v1/live?since=8-2");
  });

  test("values are asked for all pages at once", () => {
    const world = new World();
    const fanout = new Fanout(world);
    const [a, b] = [follow(fanout, "7-10"), follow(fanout, "7-10")];
    fanout.handle(a, { ask: "values", assets: [9] });
    fanout.handle(b, { ask: "values", assets: [4, 9] });
    expect(world.stream.url).toBe("/api/v1/live?since=7-10&assets=4,9");
    const opened = world.streams.length;
    fanout.handle(a, { ask: "values", assets: [4] });
    expect(world.streams).toHaveLength(opened);
  });

  test("a refused stream is tried again, ever more slowly, from the last event", () => {
    const world = new World();
    const page = follow(new Fanout(world), "7-10");
    world.stream.say("state", "7-11");
    world.stream.refuse();
    expect(page.downs).toBe(1);
    world.pass(1_000);
    expect(world.stream.url).toBe("/api/v1/live?since=7-11");
    world.stream.refuse();
    world.pass(1_999);
    expect(world.streams).toHaveLength(2);
    world.pass(1);
    expect(world.streams).toHaveLength(3);
  });

  test("a line that is open but silent is opened again after three missed beats", () => {
    const world = new World();
    follow(new Fanout(world), "7-10");
    world.stream.say("beat", "7-10");
    world.pass(STALE_AFTER_MS - 1);
    expect(world.streams).toHaveLength(1);
    world.pass(1);
    expect(world.streams).toHaveLength(2);
    expect(world.streams[0]?.readyState).toBe(2);
  });

  test("the last page that leaves closes the stream; a silent page is forgotten", () => {
    const world = new World();
    const fanout = new Fanout(world);
    const [a, b] = [follow(fanout, "7-10"), follow(fanout, "7-10")];
    world.pass(250_000);
    fanout.handle(a, { ask: "here" });
    world.stream.say("state", "7-11");
    expect(b.heard).toEqual([]);
    fanout.handle(a, { ask: "leave" });
    expect(world.stream.readyState).toBe(2);
    const opened = world.streams.length;
    world.pass(100_000);
    expect(world.streams).toHaveLength(opened);
  });
});
