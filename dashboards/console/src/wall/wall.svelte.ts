/** The wallboard's one owner of state: joins the feed, holds the town, turns the pages. It never changes anything. */

import { api, whenSessionIsLost } from "../api/client";
import type { Status } from "../api/types";
import { monotonicMs, wallMs } from "../clock";
import { words, type Language } from "../i18n";
import { connect, type FeedLine } from "../live/connect";
import { readEvent, writePosition, type LiveEvent } from "../live/events";
import type { FeedMessage } from "../live/fanout";
import { liveness, silentMs, type Link } from "../live/link";
import { load, type Theme } from "../preferences";
import { countAlerts, listAlerts, NO_FILTER } from "../town/select";
import { EMPTY_TOWN, fromSnapshot, reduce, type Town } from "../town/town";
import { byLateness, readOverdue, type OverdueCase } from "./overdue";
import { turned } from "./pages";
import { wallWords } from "./words";

const GATHER_MS = 250;
const TICK_MS = 500;
const POLL_MS = 15_000;
const RELOAD_MS = 5_000;

/** Rows of a page: as many as stand on a 16:9 screen in a size that is read from across a room. */
export const ALERT_ROWS = 7;
export const CASE_ROWS = 5;

export class Wall {
  town = $state.raw<Town>(EMPTY_TOWN);
  link = $state.raw<Link>({ openedAtMs: monotonicMs(), heardAtMs: null });
  status = $state.raw<Status | null>(null);
  /** Nothing until they were read. */
  cases = $state.raw<OverdueCase[] | null>(null);
  casesFailed = $state(false);
  loaded = $state(false);
  signedOut = $state(false);
  /** When the pages began to turn: a new alert turns them back to the first. */
  private turnedAtMs = $state(monotonicMs());
  private tickMono = $state(monotonicMs());
  private tickWall = $state(wallMs());
  private systemDark = $state(matchMedia("(prefers-color-scheme: dark)").matches);

  readonly language: Language = load.language();
  readonly theme: Theme = load.theme();
  readonly t = words(this.language);
  readonly w = wallWords(this.language);

  dark = $derived(this.theme === "dark" || (this.theme === "auto" && this.systemDark));
  stale = $derived(liveness(this.link, this.tickMono) === "stale");
  silentMs = $derived(silentMs(this.link, this.tickMono) ?? this.tickMono - this.link.openedAtMs);
  nowMs = $derived(this.tickWall + this.town.clockOffsetMs);
  counts = $derived(countAlerts(this.town));
  private all = $derived(listAlerts(this.town, NO_FILTER, null));
  total = $derived(this.all.length);
  alerts = $derived(turned(this.all, ALERT_ROWS, this.tickMono - this.turnedAtMs));
  late = $derived(turned(byLateness(this.cases ?? []), CASE_ROWS, this.tickMono - this.turnedAtMs));

  private line: FeedLine | null = null;
  private queue: LiveEvent[] = [];
  private gatherTimer: ReturnType<typeof setTimeout> | undefined;
  private loading = false;

  /** Joins the feed and reads the town; the answer ends it. */
  start(): () => void {
    // A wall has nobody to log in: it says so, and looks whether somebody let it in.
    whenSessionIsLost(() => (this.signedOut = true));
    this.line = connect((message) => this.hear(message));
    void this.readSnapshot();
    void this.poll();
    const timers = [setInterval(() => this.tick(), TICK_MS), setInterval(() => void this.poll(), POLL_MS)];
    const media = matchMedia("(prefers-color-scheme: dark)");
    const follow = (): void => void (this.systemDark = media.matches);
    media.addEventListener("change", follow);
    return () => {
      timers.forEach(clearInterval);
      media.removeEventListener("change", follow);
      this.line?.close();
    };
  }

  private tick(): void {
    this.tickMono = monotonicMs();
    this.tickWall = wallMs();
  }

  private async poll(): Promise<void> {
    try {
      this.status = await api.status();
      this.signedOut = false;
    } catch {
      // The banner tells of a hub that is away; the last status stays, greyed.
    }
    try {
      this.cases = await readOverdue();
      this.casesFailed = false;
    } catch {
      this.casesFailed = true;
    }
  }

  private hear(message: FeedMessage): void {
    if (message.tell === "down") return;
    this.link = { ...this.link, heardAtMs: monotonicMs() };
    for (const raw of message.events) {
      const event = readEvent(raw.name, raw.id, raw.data);
      if (event !== null) this.queue.push(event);
    }
    this.gatherTimer ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  private flush(): void {
    clearTimeout(this.gatherTimer);
    this.gatherTimer = undefined;
    // While a snapshot is read, what happens meanwhile waits for it.
    if (this.loading || this.town.position === null) return;
    const events = this.queue;
    this.queue = [];
    const known = this.town.alerts;
    this.town = reduce(this.town, events, wallMs());
    const isNew = (event: LiveEvent): boolean => event.type === "alert" && !known.has(event.alert.id);
    if (events.some(isNew)) this.turnedAtMs = monotonicMs();
    if (this.town.reload !== null) void this.readSnapshot();
  }

  private async readSnapshot(): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    try {
      const map = await api.map("wgs84");
      const alerts = await api.openAlerts();
      // The wall tells only of cases that are late, and only the hub knows which: it is asked by itself.
      this.town = fromSnapshot(map, alerts, [], this.town, wallMs());
      this.loaded = true;
      this.signedOut = false;
      this.loading = false;
      if (this.town.position !== null) this.line?.ask({ ask: "follow", since: writePosition(this.town.position) });
      this.flush();
    } catch {
      // The banner tells of it.
      this.loading = false;
      setTimeout(() => void this.readSnapshot(), RELOAD_MS);
    }
  }
}
