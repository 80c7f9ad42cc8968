/**
 * Moves that wait for the link. Each is written down before it is sent, and struck off when the hub has it: a phone that
 * loses the net, or its battery, in the middle loses nothing and does nothing twice. The version that a move was made on
 * is its guard: a second sending is refused by the hub, and the case's log tells whether the first one arrived.
 */

import { ApiError } from "../api/client";
import type { Case, CaseDetail, MoveBody, MoveKind } from "../api/types";
import { isOwnMove } from "./cases";

/** A move in the queue. */
export interface Queued {
  /** Grows; the order of sending. */
  key: number;
  /** Whose it is: on a shared phone one person does not send another's moves. */
  person: string;
  case: number;
  kind: MoveKind;
  version: number;
  body: MoveBody;
  /** Photos that are still here; those that the hub has stand in `body.photos`. */
  photos: Blob[];
  queuedAtMs: number;
  /** The code of the hub's refusal; it then waits for a person's word. */
  refused: string | null;
}

/** Where the queue is kept. */
export interface Shelf {
  all(): Promise<Queued[]>;
  put(move: Queued): Promise<void>;
  remove(key: number): Promise<void>;
}

/** The part of the hub that the queue talks to. */
export interface Post {
  putPhoto(id: number, photo: Blob): Promise<string>;
  move(id: number, kind: MoveKind, version: number, body: MoveBody): Promise<Case>;
  case(id: number): Promise<CaseDetail>;
}

export class Outbox {
  private moves: Queued[] = [];
  private sending = false;
  private lastKey = 0;

  constructor(
    private readonly shelf: Shelf,
    private readonly post: Post,
    /** Told of every change of the queue, and of every case that came back. */
    private readonly tell: (moves: Queued[], made: Case | null) => void,
  ) {}

  /** Takes up what an earlier page left behind. */
  async start(): Promise<void> {
    this.moves = (await this.shelf.all()).sort((a, b) => a.key - b.key);
    this.lastKey = this.moves.at(-1)?.key ?? 0;
    this.tell([...this.moves], null);
  }

  /** Writes a move down. It is safe when this returns; sending is another matter. */
  async add(move: Omit<Queued, "key" | "refused">): Promise<void> {
    // Unlike any key of another tab, and still in order.
    this.lastKey = Math.max(this.lastKey + 1, move.queuedAtMs * 1000 + Math.floor(Math.random() * 1000));
    const queued = { ...move, key: this.lastKey, refused: null };
    await this.shelf.put(queued);
    this.moves.push(queued);
    this.tell([...this.moves], null);
  }

  /** Drops a move that was refused, or not yet sent, with all that was made on it. */
  async drop(key: number): Promise<void> {
    const dropped = this.moves.find((move) => move.key === key);
    const gone = this.moves.filter((move) => move.case === dropped?.case && move.key >= key);
    for (const move of gone) await this.shelf.remove(move.key);
    this.moves = this.moves.filter((move) => !gone.includes(move));
    this.tell([...this.moves], null);
  }

  /** Puts refused moves of a case onto the version that it has now, and tries again. */
  async retry(id: number, version: number, person: string): Promise<void> {
    let next = version;
    for (const move of this.moves.filter((candidate) => candidate.case === id)) {
      await this.change(move, { version: next, refused: null });
      next += 1;
    }
    await this.flush(person);
  }

  /** Sends a person's moves, in order; stops at the first sign that there is no link. Answers whether the link held. */
  async flush(person: string): Promise<boolean> {
    if (this.sending) return true;
    this.sending = true;
    try {
      for (let move = this.next(person); move !== undefined; move = this.next(person)) {
        if (!(await this.send(move))) return false;
      }
      return true;
    } finally {
      this.sending = false;
    }
  }

  /** The first move that may go: nothing of a case goes past a refused move of it. */
  private next(person: string): Queued | undefined {
    const held = new Set(this.moves.filter(({ refused }) => refused !== null).map((move) => move.case));
    return this.moves.find((move) => move.person === person && !held.has(move.case));
  }

  private async send(move: Queued): Promise<boolean> {
    let current = move;
    try {
      for (const photo of move.photos) {
        const name = await this.post.putPhoto(move.case, photo);
        // One by one: what has arrived need not go again.
        current = await this.change(current, {
          photos: current.photos.slice(1),
          body: { ...current.body, photos: [...(current.body.photos ?? []), name] },
        });
      }
      const made = await this.post.move(current.case, current.kind, current.version, current.body);
      await this.done(current, made);
      return true;
    } catch (error) {
      return this.failed(current, error);
    }
  }

  private async failed(move: Queued, error: unknown): Promise<boolean> {
    if (!(error instanceof ApiError) || error.isUncertain || error.code === "unavailable") return false;
    if (error.code === "not_authenticated" || error.code === "password_change_required") return false;
    if (error.code === "version_conflict") {
      try {
        const { case: now, events } = await this.post.case(move.case);
        if (isOwnMove(events, move, move.person)) {
          await this.done(move, now);
          return true;
        }
      } catch {
        return false;
      }
    }
    await this.change(move, { refused: error.code });
    return true;
  }

  private async done(move: Queued, made: Case): Promise<void> {
    await this.shelf.remove(move.key);
    this.moves = this.moves.filter(({ key }) => key !== move.key);
    this.tell([...this.moves], made);
  }

  private async change(move: Queued, change: Partial<Queued>): Promise<Queued> {
    const changed = { ...move, ...change };
    await this.shelf.put(changed);
    this.moves = this.moves.map((known) => (known.key === move.key ? changed : known));
    this.tell([...this.moves], null);
    return changed;
  }
}

/** A queue that lasts as long as the page, for browsers that keep nothing. */
export class MemoryShelf implements Shelf {
  private readonly moves = new Map<number, Queued>();
  all = async (): Promise<Queued[]> => [...this.moves.values()];
  put = async (move: Queued): Promise<void> => void this.moves.set(move.key, move);
  remove = async (key: number): Promise<void> => void this.moves.delete(key);
}

/** The browser's own table; photos lie in it as they are. */
export async function openShelf(): Promise<Shelf> {
  try {
    const opening = indexedDB.open("townhub", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("outbox", { keyPath: "key" });
    return new TableShelf(await answer(opening));
  } catch {
    return new MemoryShelf();
  }
}

class TableShelf implements Shelf {
  constructor(private readonly db: IDBDatabase) {}

  private table(mode: IDBTransactionMode): IDBObjectStore {
    return this.db.transaction("outbox", mode).objectStore("outbox");
  }

  async all(): Promise<Queued[]> {
    return (await answer(this.table("readonly").getAll())) as Queued[];
  }

  put(move: Queued): Promise<void> {
    const table = this.table("readwrite");
    table.put(move);
    return written(table.transaction);
  }

  remove(key: number): Promise<void> {
    const table = this.table("readwrite");
    table.delete(key);
    return written(table.transaction);
  }
}

/** A request's success is not yet on disk; the end of its transaction is. */
function written(transaction: IDBTransaction): Promise<void> {
  return new Promise((done, fail) => {
    transaction.oncomplete = () => done();
    transaction.onabort = () => fail(transaction.error);
  });
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}
