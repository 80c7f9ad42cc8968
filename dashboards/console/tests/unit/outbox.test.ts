import { describe, expect, test } from "vitest";
import { ApiError } from "../../src/api/client";
import type { Case, CaseDetail, CaseEvent, MoveBody, MoveKind } from "../../src/api/types";
import { MemoryShelf, Outbox, type Post, type Queued } from "../../src/work/outbox";
import { TOLD_AS } from "../../src/work/cases";
import { caseOf, NOW } from "./sample";

/** A hub with one case that takes any move on its version; its link can be cut before or after it has done its work. */
class FakeHub implements Post {
  link: "up" | "before" | "after" = "up";
  one: Case = caseOf(1, { version: 4 });
  events: CaseEvent[] = [];
  photos = 0;
  tries = 0;

  private cut(when: "before" | "after"): void {
    if (this.link === when) throw new ApiError("unreachable", 0, "no link");
  }

  async putPhoto(): Promise<string> {
    this.cut("before");
    this.photos += 1;
    return `photo-${this.photos}`;
  }

  async move(_id: number, kind: MoveKind, version: number, body: MoveBody): Promise<Case> {
    this.tries += 1;
    this.cut("before");
    if (version !== this.one.version) throw new ApiError("version_conflict", 409, "changed");
    this.change("li", TOLD_AS[kind], body.note);
    this.cut("after");
    return this.one;
  }

  async case(): Promise<CaseDetail> {
    this.cut("before");
    this.cut("after");
    return { case: this.one, allowed: [], lacking: [], suggested_unit: null, events: this.events };
  }

  change(actor: string, what: string, note: string | undefined = undefined): void {
    this.one = { ...this.one, version: this.one.version + 1 };
    this.events.push({ case: 1, version: this.one.version, at: "2026-07-01T08:00:00Z", actor, note: note ?? null, what });
  }
}

async function field(): Promise<{ hub: FakeHub; shelf: MemoryShelf; box: Outbox; seen: () => Queued[] }> {
  const hub = new FakeHub();
  const shelf = new MemoryShelf();
  let queue: Queued[] = [];
  const box = new Outbox(shelf, hub, (moves) => (queue = moves));
  await box.start();
  return { hub, shelf, box, seen: () => queue };
}

const move = (kind: MoveKind, version: number, more: Partial<Queued> = {}) => ({
  person: "li", case: 1, kind, version, body: {}, photos: [], queuedAtMs: NOW, ...more,
});

describe("the field's queue", () => {
  test("sends in order and forgets what the hub has", async () => {
    const { hub, shelf, box, seen } = await field();
    await box.add(move("accept", 4));
    await box.add(move("handle", 5, { photos: [new Blob(["a"]), new Blob(["b"])] }));
    expect(seen()).toHaveLength(2);
    expect(await box.flush("li")).toBe(true);
    expect(hub.events.map(({ what }) => what)).toEqual(["accepted", "handled"]);
    expect(hub.photos).toBe(2);
    expect(await shelf.all()).toEqual([]);
  });

  test("keeps all while there is no link, also over a new page", async () => {
    const { hub, shelf, box } = await field();
    hub.link = "before";
    await box.add(move("accept", 4));
    await box.add(move("report", 5));
    expect(await box.flush("li")).toBe(false);
    const next = new Outbox(shelf, hub, () => {});
    await next.start();
    hub.link = "up";
    expect(await next.flush("li")).toBe(true);
    expect(hub.events.map(({ what }) => what)).toEqual(["accepted", "reported"]);
  });

  test("knows a move whose answer was lost, and does not make it twice", async () => {
    const { hub, shelf, box } = await field();
    hub.link = "after";
    await box.add(move("accept", 4));
    expect(await box.flush("li")).toBe(false);
    hub.link = "up";
    expect(await box.flush("li")).toBe(true);
    expect(hub.tries).toBe(2);
    expect(hub.events).toHaveLength(1);
    expect(await shelf.all()).toEqual([]);
  });

  test("a photo that has arrived is not sent again", async () => {
    const { hub, box } = await field();
    await box.add(move("handle", 4, { photos: [new Blob(["a"])] }));
    const sendMove = hub.move.bind(hub);
    hub.move = async () => {
      throw new ApiError("unreachable", 0, "no link");
    };
    await box.flush("li");
    hub.move = sendMove;
    await box.flush("li");
    expect(hub.photos).toBe(1);
    expect(hub.events).toHaveLength(1);
  });

  test("a true conflict waits for a word, and holds back what was built on it", async () => {
    const { hub, box, seen } = await field();
    await box.add(move("accept", 4));
    await box.add(move("report", 5));
    hub.change("chen", "attached");
    expect(await box.flush("li")).toBe(true);
    expect(seen().map(({ refused }) => refused)).toEqual(["version_conflict", null]);
    expect(hub.events).toHaveLength(1);
    await box.retry(1, hub.one.version, "li");
    expect(hub.events.map(({ what }) => what)).toEqual(["attached", "accepted", "reported"]);
    expect(seen()).toEqual([]);
  });

  test("dropping a move drops what was built on it, and nothing else", async () => {
    const { hub, box, seen } = await field();
    hub.link = "before";
    await box.add(move("accept", 4));
    await box.add(move("report", 5));
    await box.add(move("accept", 9, { case: 2 }));
    await box.drop(seen()[0]?.key ?? 0);
    expect(seen().map((one) => one.case)).toEqual([2]);
  });

  test("one person does not send another's moves", async () => {
    const { hub, box } = await field();
    await box.add(move("accept", 4));
    expect(await box.flush("zhou")).toBe(true);
    expect(hub.tries).toBe(0);
  });
});
