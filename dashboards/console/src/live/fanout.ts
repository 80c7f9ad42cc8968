/**
 * One stream from the hub for every page of this browser.
 *
 * HTTP/1.1 allows six connections to a host, and each open stream holds one: with a stream per page the seventh tab hangs.
 * So a shared worker holds the stream and hands its events on; a browser without shared workers runs the same class in the
 * page. It keeps the last events, so that a page that joins goes on from its own snapshot without a hole.
 */

import {
  EVENT_NAMES,
  readPosition,
  writePosition,
  type EventName,
  type FeedPosition,
} from "./events";
import { STALE_AFTER_MS } from "./link";

/** An event as it came, with its id; pages read it. */
export interface RawEvent {
  name: EventName;
  id: string;
  data: string;
}

/** What a page asks: to follow the feed from a position, the values of some assets, or to leave. */
export type PageMessage =
  | { ask: "follow"; since: string }
  | { ask: "values"; assets: number[] }
  | { ask: "here" }
  | { ask: "leave" };

/** What a page is told: events in order, or that the hub does not answer (it may be the session). */
export type FeedMessage = { tell: "events"; events: RawEvent[] } | { tell: "down" };

/** A page, seen from the stream's side. */
export interface Subscriber {
  tell(message: FeedMessage): void;
}

/** The part of `EventSource` that is used; tests bring their own. */
export interface Stream {
  readonly readyState: number;
  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void;
  onerror: ((event: Event) => unknown) | null;
  close(): void;
}

export interface Surroundings {
  open(url: string): Stream;
  nowMs(): number;
  /** Calls `act` after `ms`; the answer cancels it. */
  after(ms: number, act: () => void): () => void;
}

/** Events kept for pages that join: some minutes of a busy town. */
const RING = 4_096;
/** Waits between attempts grow from the first to the last of these, in milliseconds. */
const BACKOFF_MS = [1_000, 2_000, 5_000, 10_000] as const;
/** A page that was not heard for so long is gone; hidden pages still speak once a minute. */
const PAGE_GONE_MS = 200_000;
const CLOSED = 2;

/** As many assets as the hub sends values of on one stream. */
const MAX_WANTED = 64;

interface Page {
  following: boolean;
  assets: number[];
  heardAtMs: number;
}

export class Fanout {
  private readonly pages = new Map<Subscriber, Page>();
  private ring: RawEvent[] = [];
  /** The position just before the first event of the ring. */
  private ringFrom: FeedPosition | null = null;
  private last: FeedPosition | null = null;
  private stream: Stream | null = null;
  private streamAssets = "";
  private failures = 0;
  private cancelWatch: () => void = () => {};
  private cancelRetry: () => void = () => {};

  constructor(private readonly around: Surroundings) {}

  /** Takes what a page asks. */
  handle(from: Subscriber, message: PageMessage): void {
    if (message.ask === "leave") {
      this.forget(from);
      return;
    }
    const page = this.pages.get(from) ?? { following: false, assets: [], heardAtMs: 0 };
    page.heardAtMs = this.around.nowMs();
    this.pages.set(from, page);
    if (message.ask === "follow") this.follow(from, page, message.since);
    if (message.ask === "values") {
      page.assets = message.assets;
      if (this.stream !== null && this.wanted() !== this.streamAssets) this.reopen();
    }
    if (message.ask === "here") this.forgetTheGone();
  }

  private follow(from: Subscriber, page: Page, since: string): void {
    const position = readPosition(since);
    if (position === null) return;
    page.following = true;
    if (this.stream === null || this.last === null || this.ringFrom === null) {
      this.startAt(position);
    } else if (position.epoch !== this.last.epoch) {
      // The page's snapshot is of another life of the hub. The page has just asked, the stream may be old: trust the page.
      this.startAt(position);
    } else if (position.seq < this.ringFrom.seq) {
      from.tell({ tell: "events", events: [this.gap()] });
    } else {
      const missed = this.ring.filter((event) => (readPosition(event.id)?.seq ?? 0) > position.seq);
      if (missed.length > 0) from.tell({ tell: "events", events: missed });
    }
  }

  private gap(): RawEvent {
    const at = this.last ?? { epoch: "0", seq: 0 };
    return { name: "reload", id: writePosition(at), data: '{"reason":"gap"}' };
  }

  private startAt(position: FeedPosition): void {
    this.ring = [];
    this.ringFrom = position;
    this.last = position;
    this.reopen();
  }

  /** The assets whose values any page wants, as the query has them: of too many, what each page put first. */
  private wanted(): string {
    const ranked = [...this.pages.values()].flatMap((page) => page.assets.map((asset, rank) => ({ asset, rank })));
    const assets = new Set(ranked.sort((a, b) => a.rank - b.rank).map(({ asset }) => asset));
    return [...assets].slice(0, MAX_WANTED).sort((a, b) => a - b).join(",");
  }

  private reopen(): void {
    this.cancelRetry();
    this.stream?.close();
    if (this.last === null) return;
    this.streamAssets = this.wanted();
    const assets = this.streamAssets === "" ? "" : `&assets=${this.streamAssets}`;
    const stream = this.around.open(`/api/v1/live?since=${writePosition(this.last)}${assets}`);
    this.stream = stream;
    for (const name of EVENT_NAMES) {
      stream.addEventListener(name, (event) => this.heard(stream, name, event));
    }
    stream.onerror = () => this.failed(stream);
    this.watch();
  }

  private heard(stream: Stream, name: EventName, event: MessageEvent<string>): void {
    if (stream !== this.stream) return;
    this.failures = 0;
    this.watch();
    const raw = { name, id: event.lastEventId, data: event.data };
    const position = readPosition(raw.id);
    if (position !== null) {
      this.last = position;
      this.remember(raw, position);
    }
    for (const [subscriber, page] of this.pages) {
      if (page.following) subscriber.tell({ tell: "events", events: [raw] });
    }
  }

  private remember(raw: RawEvent, position: FeedPosition): void {
    if (position.epoch !== this.ringFrom?.epoch || raw.name === "reload") {
      this.ring = [];
      this.ringFrom = position;
    } else if (["state", "alert", "case", "command", "trouble"].includes(raw.name)) {
      this.ring.push(raw);
      if (this.ring.length > RING) {
        const dropped = this.ring.splice(0, RING / 4).at(-1);
        this.ringFrom = (dropped && readPosition(dropped.id)) ?? position;
      }
    }
  }

  /** `EventSource` tries again by itself after a broken line, but gives up for good on an answer that is no stream. */
  private failed(stream: Stream): void {
    if (stream !== this.stream || stream.readyState !== CLOSED) return;
    for (const subscriber of this.pages.keys()) subscriber.tell({ tell: "down" });
    this.retryLater();
  }

  private retryLater(): void {
    this.cancelWatch();
    this.cancelRetry();
    const wait = BACKOFF_MS[Math.min(this.failures, BACKOFF_MS.length - 1)] ?? 10_000;
    this.failures += 1;
    this.cancelRetry = this.around.after(wait, () => this.reopen());
  }

  /** A line that is open but silent is dead too: a proxy or a sleeping laptop leaves such lines behind. */
  private watch(): void {
    this.cancelWatch();
    this.cancelWatch = this.around.after(STALE_AFTER_MS, () => {
      for (const subscriber of this.pages.keys()) subscriber.tell({ tell: "down" });
      this.reopen();
    });
  }

  private forgetTheGone(): void {
    const horizon = this.around.nowMs() - PAGE_GONE_MS;
    for (const [subscriber, page] of this.pages) {
      if (page.heardAtMs < horizon) this.forget(subscriber);
    }
  }

  private forget(subscriber: Subscriber): void {
    this.pages.delete(subscriber);
    if (this.pages.size > 0) return;
    this.cancelWatch();
    this.cancelRetry();
    this.stream?.close();
    this.stream = null;
    this.last = null;
  }
}
