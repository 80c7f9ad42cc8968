/** The page's one owner of state: joins the feed, holds the town, and does what the operator asks. */

import { api, asApiError, whenSessionIsLost, type ApiError } from "./api/client";
import type { Alert, AssetDetail, BaseMap, Family, Kind, ProfilesAnswer, Rank, SessionAnswer, Status, Trouble } from "./api/types";
import { monotonicMs, wallMs } from "./clock";
import { loadWords, words, type Language } from "./i18n";
import type { Action } from "./keys";
import { connect, type FeedLine } from "./live/connect";
import { readEvent, writePosition, type LiveEvent } from "./live/events";
import type { FeedMessage } from "./live/fanout";
import { liveness, silentMs, type Link } from "./live/link";
import type { Past } from "./map/past";
import { readRoute, writeRoute, type Route } from "./pages/route";
import { FOLLOWED, SCHEMATIC } from "./town/ground";
import { load, save, type Theme } from "./preferences";
import { nextCall, Voice, type Heard } from "./sound";
import {
  alertsOf,
  assetOf,
  countAlerts,
  countAside,
  listAlerts,
  listAssets,
  nextUnacknowledged,
  NO_FILTER,
  step,
  type Filter,
  type Held,
  type StandingName,
} from "./town/select";
import { EMPTY_TOWN, fromSnapshot, reduce, withAlert, type Town } from "./town/town";
import { Casework } from "./work/casework.svelte";
import { Gate } from "./work/gate.svelte";

/** Displayed states are gathered for this long before the page is drawn. */
const GATHER_MS = 250;
/** Alerts and cases wait no longer than an eye would notice: in a storm a thousand of them are one drawing. */
const URGENT_MS = 40;
const TICK_MS = 500;
const STATUS_MS = 15_000;
/** Waits between attempts to read the snapshot grow to this, milliseconds. */
const MAX_RELOAD_MS = 30_000;

/** As the styles have it. */
const NARROW = "(max-width: 760px)";
/** Values asked for at most; all tabs together may ask for a few more. */
const MAX_FOLLOWED = 48;
/** What keys may do while the past is shown: nothing that acts on the present. */
const READING: ReadonlySet<Action["do"]> = new Set<Action["do"]>(["search", "sound", "language", "help", "escape"]);

/** What keys do on a page that covers the map. */
const EVERYWHERE: ReadonlySet<Action["do"]> = new Set(["sound", "language", "help", "escape"]);

export type Detail =
  | { is: "loading" }
  | { is: "ready"; asset: AssetDetail }
  | { is: "failed"; code: string };

export class Console {
  town = $state.raw<Town>(EMPTY_TOWN);
  link = $state.raw<Link>({ openedAtMs: monotonicMs(), heardAtMs: null });
  /** What the map stands on; nothing until the hub has said it. */
  ground = $state.raw<BaseMap | null>(null);
  /** The town at a moment of the past while the map plays it back: nothing can be acknowledged or ordered then. */
  past = $state.raw<Past | null>(null);
  status = $state.raw<Status | null>(null);
  profiles = $state.raw<ProfilesAnswer | null>(null);
  /** What is wrong with the hub itself, the worst first. */
  troubles = $state.raw<readonly Trouble[]>([]);
  /** Who is logged in; nothing until the hub has said it. */
  session = $state.raw<SessionAnswer | null>(null);
  /** Whether the hub was asked who is logged in and could not say. */
  isStranger = $state(false);
  /** Nothing while the first snapshot is on its way; the code of the error when it cannot be read. */
  loaded = $state(false);
  loadError = $state<string | null>(null);

  filter = $state.raw<Filter>(NO_FILTER);
  tab = $state<"alerts" | "cases" | "assets">("alerts");
  /** Which part a narrow screen shows. */
  pane = $state<"tasks" | "list" | "map">("list");
  held = $state.raw<Held | null>(null);
  chosenAsset = $state<number | null>(null);
  detail = $state.raw<Detail | null>(null);
  /** The alerts about which the hub has not answered yet; 0 are those that were picked. A slow answer about one keeps no other waiting. */
  private underway = $state.raw<ReadonlySet<number>>(new Set());
  acknowledgingMany = $derived(this.underway.has(0));
  actionError = $state<string | null>(null);
  /** What the hub said more of the last refusal. */
  actionMembers = $state.raw<Readonly<Record<string, unknown>>>({});
  note = $state("");
  /** The alerts that are picked to be acknowledged at once; nothing while none are being picked. */
  picked = $state.raw<ReadonlySet<number> | null>(null);
  /** What the last bulk acknowledgement came to. */
  bulk = $state.raw<{ done: number; others: number; missing: number } | null>(null);
  /** Whether the form to shelve the chosen alert is open. */
  shelving = $state(false);
  helpOpen = $state(false);
  menuOpen = $state(false);
  /** The page that covers the map; nothing is the map. */
  route = $state.raw<Route | null>(readRoute(location.search));
  /** Whether the wall of overdue cases stands in place of map and lists. */
  wall = $state(new URLSearchParams(location.search).get("wall") === "overdue");
  isNarrow = $state(matchMedia(NARROW).matches);
  /** Grows with every request to bring the chosen asset into the map's view. */
  locate = $state(0);

  language = $state<Language>(load.language());
  theme = $state<Theme>(load.theme());
  systemDark = $state(matchMedia("(prefers-color-scheme: dark)").matches);
  sound = $state(false);

  private tickMono = $state(monotonicMs());
  private tickWall = $state(wallMs());

  t = $derived(words(this.language));
  liveness = $derived(liveness(this.link, this.tickMono));
  silentMs = $derived(silentMs(this.link, this.tickMono));
  /** How long the page has been open, for a hub that never answered. */
  waitedMs = $derived(this.tickMono - this.link.openedAtMs);
  stale = $derived(this.liveness === "stale");
  /** The hub's present, milliseconds since 1970; ages are counted from it. */
  nowMs = $derived(this.tickWall + this.town.clockOffsetMs);
  alerts = $derived(listAlerts(this.town, this.filter, this.held));
  assets = $derived(listAssets(this.town, this.filter));
  counts = $derived(countAlerts(this.town));
  aside = $derived(countAside(this.town));
  /** Until the hub has said who we are it decides by itself. */
  mayAcknowledge = $derived(this.past === null && (this.session?.rights.includes("acknowledge") ?? true));
  dark = $derived(this.theme === "dark" || (this.theme === "auto" && this.systemDark));
  /** The chosen alert as it is now, or as it was when it closed. */
  chosenAlert = $derived(this.held && (this.town.alerts.get(this.held.alert.id) ?? this.held.latest));

  acknowledging = $derived(this.chosenAlert !== null && this.underway.has(this.chosenAlert.id));

  readonly cases = new Casework(this);
  readonly gate = new Gate(this);
  /** The device of the chosen asset that may be told something. */
  orderable = $derived(
    this.detail?.is === "ready" ? this.detail.asset.devices.find(({ commands }) => (commands?.length ?? 0) > 0) : undefined,
  );
  mayOrder = $derived(
    this.past === null && (this.session?.rights.some((right) => right === "operate" || right === "engineer") ?? false),
  );

  /** Done when the hub has said who is logged in, or could not. */
  introduced: Promise<void> = Promise.resolve();
  private line: FeedLine | null = null;
  /** The asset that a page asked to be told of. */
  private watched: number | null = null;
  private queue: LiveEvent[] = [];
  private gatherTimer: ReturnType<typeof setTimeout> | undefined;
  private gatherDueMs = 0;
  private loading = false;
  private reloadWaitMs = 0;
  private lastLoadMs = Number.NEGATIVE_INFINITY;
  private readonly voice = new Voice();
  private heardCalls: Heard = { major: new Set(), criticalAtMs: Number.NEGATIVE_INFINITY };

  /** Joins the feed and reads the town; the answer ends it. */
  start(): () => void {
    whenSessionIsLost(() => location.assign("/login"));
    this.line = connect((message) => this.hear(message));
    void this.readSnapshot();
    void this.readStatus();
    void this.readTroubles();
    this.introduced = this.readSession();
    void this.introduced.then(() => this.cases.send());
    const endCases = this.cases.start();
    const timers = [
      setInterval(() => this.tick(), TICK_MS),
      setInterval(() => void this.readStatus(), STATUS_MS),
      // The feed tells of a trouble at once; its numbers move in between.
      setInterval(() => void this.readTroubles(), STATUS_MS),
    ];
    const media = matchMedia("(prefers-color-scheme: dark)");
    const follow = (): void => void (this.systemDark = media.matches);
    media.addEventListener("change", follow);
    const narrow = matchMedia(NARROW);
    const followWidth = (): void => void (this.isNarrow = narrow.matches);
    narrow.addEventListener("change", followWidth);
    const followRoute = (): void => void (this.route = readRoute(location.search));
    addEventListener("popstate", followRoute);
    return () => {
      timers.forEach(clearInterval);
      endCases();
      media.removeEventListener("change", follow);
      narrow.removeEventListener("change", followWidth);
      removeEventListener("popstate", followRoute);
      this.line?.close();
    };
  }

  private async readSession(): Promise<void> {
    try {
      const first = this.session === null;
      this.session = await api.session();
      // Who works outside with a phone wants the tasks first.
      if (first && this.isNarrow && this.session.user.role === "handler") this.showPane("tasks");
    } catch {
      // A lost session leads to the login; a hub that does not answer is asked again with the feed.
      this.isStranger = true;
    }
  }

  // --- the feed ---

  private hear(message: FeedMessage): void {
    if (message.tell === "down") {
      // A stream that is refused may be a lost session; any answer tells (401 leads to the login).
      void this.readSession();
      return;
    }
    this.link = { ...this.link, heardAtMs: monotonicMs() };
    for (const raw of message.events) {
      const event = readEvent(raw.name, raw.id, raw.data);
      if (event !== null) this.queue.push(event);
    }
    const urgent = this.queue.some(({ type }) => type === "alert" || type === "case" || type === "command" || type === "trouble" || type === "reload");
    this.flushWithin(urgent ? URGENT_MS : GATHER_MS);
  }

  private flushWithin(ms: number): void {
    const dueMs = monotonicMs() + ms;
    if (this.gatherTimer !== undefined && this.gatherDueMs <= dueMs) return;
    clearTimeout(this.gatherTimer);
    this.gatherDueMs = dueMs;
    this.gatherTimer = setTimeout(() => this.flush(), ms);
  }

  private flush(): void {
    clearTimeout(this.gatherTimer);
    this.gatherTimer = undefined;
    // While a snapshot is read, what happens meanwhile waits for it.
    if (this.loading || this.town.position === null) return;
    const events = this.queue;
    this.queue = [];
    this.town = reduce(this.town, events, wallMs());
    for (const event of events) {
      if (event.type === "alert") this.keepLatest(event.alert);
      if (event.type === "case") this.cases.heard(event.case);
      if (event.type === "command") this.gate.heard(event.command);
    }
    if (events.some(({ type }) => type === "trouble")) void this.readTroubles();
    if (this.town.reload !== null) this.reloadSoon();
  }

  /** A reload that follows on another waits, so that a confused feed cannot hammer the hub. */
  private reloadSoon(): void {
    const quiet = monotonicMs() - this.lastLoadMs > 2 * MAX_RELOAD_MS;
    this.reloadWaitMs = quiet ? 0 : Math.min(MAX_RELOAD_MS, Math.max(1_000, 2 * this.reloadWaitMs));
    setTimeout(() => void this.readSnapshot(), this.reloadWaitMs);
  }

  private async readSnapshot(): Promise<void> {
    if (this.loading) return;
    this.loading = true;
    this.lastLoadMs = monotonicMs();
    try {
      const ground = (this.ground ??= await readGround());
      const map = await api.map(ground.crs);
      const [alerts, cases] = await Promise.all([api.openAlerts(), api.openCases()]);
      this.town = fromSnapshot(map, alerts, cases, this.town, wallMs());
      this.loaded = true;
      this.loadError = null;
      this.loading = false;
      this.askValues();
      if (this.town.position !== null) this.line?.ask({ ask: "follow", since: writePosition(this.town.position) });
      this.flush();
      void this.readTroubles();
    } catch (error) {
      this.loading = false;
      this.loadError = asApiError(error).code;
      this.reloadSoon();
    }
  }

  private async readStatus(): Promise<void> {
    try {
      this.status = await api.status();
      this.profiles = await api.profiles();
    } catch {
      // The banner tells of a hub that is away; the last status stays, greyed.
    }
  }

  private async readTroubles(): Promise<void> {
    try {
      this.troubles = await api.troubles();
    } catch {
      // The banner tells of a hub that is away; it is asked again soon.
    }
  }

  private tick(): void {
    this.tickMono = monotonicMs();
    this.tickWall = wallMs();
    const { call, heard } = nextCall(this.town, this.heardCalls, this.tickMono);
    this.heardCalls = heard;
    if (call !== null && this.sound) this.voice.play(call);
  }

  // --- pages ---

  /** Covers the map with a page, or uncovers it; the browser's way back works. */
  openPage(route: Route | null): void {
    if (writeRoute(route) === writeRoute(this.route)) return;
    history.pushState(null, "", writeRoute(route));
    this.route = route;
    // A page shows the present, and would cover the frame that says otherwise.
    this.past = null;
  }

  // --- choosing ---

  chooseAlert(alert: Alert): void {
    if (this.held?.alert.id !== alert.id) {
      this.note = "";
      this.shelving = false;
    }
    this.held = { alert, latest: alert };
    this.actionError = null;
    this.actionMembers = {};
    this.chooseNumber(assetOf(this.town, alert)?.number ?? null);
    this.locate += 1;
  }

  /** Goes from a case to one of its alerts. */
  showAlert(alert: Alert): void {
    this.openPage(null);
    this.show("alerts");
    if (this.pane === "tasks") this.pane = "list";
    this.chooseAlert(alert);
  }

  /** Goes from an alert to its case. */
  showCase(id: number): void {
    this.openPage(null);
    this.show("cases");
    this.cases.choose(id);
  }

  /** Chooses an asset, and with it its worst alert. */
  chooseAsset(number: number, show = true): void {
    const worst = alertsOf(this.town, number)[0];
    this.held = worst === undefined ? null : { alert: worst, latest: worst };
    this.note = "";
    this.actionError = null;
    this.chooseNumber(number);
    if (show) this.locate += 1;
  }

  unchoose(): void {
    this.held = null;
    this.actionError = null;
    this.chooseNumber(null);
  }

  /** Shows an asset on the map and follows its values, for a case. */
  follow(number: number | null): void {
    this.held = null;
    if (number !== null && number !== this.chosenAsset) this.locate += 1;
    this.chooseNumber(number);
  }

  /** Turns a narrow screen to another part. Tasks are cases, so their detail is a case's. */
  showPane(pane: Console["pane"]): void {
    if (pane === "tasks") this.show("cases");
    this.pane = pane;
  }

  show(tab: Console["tab"]): void {
    if (this.tab === tab) return;
    if (this.tab === "cases") this.cases.unchoose();
    else if (tab === "cases") this.unchoose();
    this.tab = tab;
  }

  /** Follows the values of an asset that a page shows, besides those of the chosen one; nothing ends it. */
  watch(number: number | null): void {
    this.watched = number;
    this.askValues();
  }

  private chooseNumber(number: number | null): void {
    const changed = number !== this.chosenAsset;
    this.chosenAsset = number;
    if (!changed) return;
    this.askValues();
    if (number === null) this.detail = null;
    else void this.readDetail();
  }

  /** Values come for the chosen asset, the one of a page, and those whose value stands on the map: as many as may be asked for. */
  private askValues(): void {
    const chosen = [this.chosenAsset, this.watched].filter((number) => number !== null);
    const standing = [...this.town.assets.values()].filter(({ kind }) => FOLLOWED.has(kind)).map(({ number }) => number);
    this.line?.ask({ ask: "values", assets: [...new Set([...chosen, ...standing])].slice(0, MAX_FOLLOWED) });
  }

  async readDetail(): Promise<void> {
    const number = this.chosenAsset;
    const asset = number === null ? undefined : this.town.assets.get(number);
    if (asset === undefined) return;
    // What is shown of it stays while it is read again.
    if (this.detail?.is !== "ready" || String(this.detail.asset.asset) !== asset.id) this.detail = { is: "loading" };
    let detail: Detail;
    try {
      detail = { is: "ready", asset: await api.asset(asset.id) };
    } catch (error) {
      detail = { is: "failed", code: asApiError(error).code };
    }
    // The operator may have moved on meanwhile.
    if (this.chosenAsset === number) this.detail = detail;
  }

  // --- doing ---

  async acknowledge(): Promise<void> {
    const alert = this.chosenAlert;
    if (alert === null || alert.acknowledged_at !== null || this.underway.has(alert.id) || !this.mayAcknowledge) return;
    this.turn(alert.id);
    this.actionError = null;
    this.actionMembers = {};
    try {
      const answer = await api.acknowledge(alert, this.note.trim());
      this.town = withAlert(this.town, answer);
      if (this.isHeld(alert)) this.note = "";
      this.keepLatest(answer);
    } catch (error) {
      this.refused(alert, asApiError(error));
    } finally {
      this.turn(alert.id);
    }
  }

  /** Opens the command of the chosen asset, if there is one and we may. */
  openGate(): void {
    if (this.orderable === undefined || !this.mayOrder || this.detail?.is !== "ready") return;
    void this.gate.start(this.orderable, String(this.detail.asset.asset));
  }

  // --- many at once ---

  togglePicking(): void {
    this.picked = this.picked === null ? new Set() : null;
    this.bulk = null;
    this.actionError = null;
  }

  pick(id: number): void {
    this.picked = toggled(this.picked ?? new Set(), id);
    this.bulk = null;
  }

  /** Picks all that the list shows and nobody has acknowledged; none, when all of them are picked already. */
  pickAll(): void {
    const all = this.pickable;
    const isWhole = this.picked !== null && all.every((id) => this.picked?.has(id));
    this.picked = new Set(isWhole ? [] : all);
    this.bulk = null;
  }

  /** What the list shows that can be acknowledged. */
  pickable = $derived(this.alerts.filter((alert) => alert.acknowledged_at === null).map(({ id }) => id));
  /** Picked, and still to be acknowledged: somebody else may have been faster. */
  toAcknowledge = $derived([...(this.picked ?? [])].filter((id) => this.town.alerts.get(id)?.acknowledged_at === null));

  async acknowledgePicked(note: string): Promise<boolean> {
    const ids = this.toAcknowledge;
    if (ids.length === 0 || this.acknowledgingMany || !this.mayAcknowledge) return false;
    this.turn(0);
    this.actionError = null;
    try {
      const results = await api.acknowledgeMany(ids, note);
      const count = (outcome: string): number => results.filter((result) => result.outcome === outcome).length;
      this.bulk = { done: count("acknowledged"), others: count("already_acknowledged"), missing: count("not_found") };
      // What was picked while they were on their way stays, and whoever has ended the picking is not led back to it.
      const sent = new Set(ids);
      this.picked = this.picked === null ? null : new Set([...this.picked].filter((id) => !sent.has(id)));
      // The feed brings each of them; a feed that lags must not leave them standing as open.
      void this.readSnapshot();
      return true;
    } catch (error) {
      this.actionError = asApiError(error).code;
      return false;
    } finally {
      this.turn(0);
    }
  }

  // --- putting aside ---

  /** Puts the chosen alert aside for `hold`, such as `4h`. Answers whether it was done, and its form still stands there. */
  async shelve(hold: string, reason: string): Promise<boolean> {
    return this.putAside((alert) => api.shelve(alert, hold, reason));
  }

  async unshelve(reason: string): Promise<boolean> {
    return this.putAside((alert) => api.unshelve(alert, reason));
  }

  private async putAside(ask: (alert: Alert) => Promise<Alert>): Promise<boolean> {
    const alert = this.chosenAlert;
    if (alert === null || this.underway.has(alert.id) || !this.mayAcknowledge) return false;
    this.turn(alert.id);
    this.actionError = null;
    try {
      const answer = await ask(alert);
      this.town = withAlert(this.town, answer);
      this.keepLatest(answer);
      if (!this.isHeld(alert)) return false;
      this.shelving = false;
      return true;
    } catch (error) {
      this.refused(alert, asApiError(error));
      return false;
    } finally {
      this.turn(alert.id);
    }
  }

  private turn(id: number): void {
    this.underway = toggled(this.underway, id);
  }

  /** Whether the operator still stands at this alert: what is written meanwhile for another is not touched by its answer. */
  private isHeld(alert: Alert): boolean {
    return this.held?.alert.id === alert.id;
  }

  private refused(alert: Alert, { code, members }: ApiError): void {
    if (this.isHeld(alert)) {
      this.actionError = code;
      this.actionMembers = members;
    }
    if (code === "version_conflict" || code === "already_acknowledged") void this.readSnapshot();
  }

  /** The chosen row keeps its place, but shows what is last known of it, even when the alert has closed. */
  private keepLatest(alert: Alert): void {
    if (this.held?.alert.id === alert.id) this.held = { alert: this.held.alert, latest: alert };
  }

  act(action: Action): void {
    // What cannot be seen is not acted on.
    if (this.route !== null && !EVERYWHERE.has(action.do)) return;
    if (this.past !== null && !READING.has(action.do)) return;
    switch (action.do) {
      case "next":
        if (this.tab === "cases") return this.cases.next();
        return this.moveTo(nextUnacknowledged(this.alerts, this.held?.alert.id ?? null));
      case "step":
        if (this.tab === "cases") return this.cases.step(action.by);
        return this.moveTo(step(this.alerts, this.held?.alert.id ?? null, action.by));
      case "primary":
        return this.primary();
      case "cases":
        return this.show(this.tab === "cases" ? "alerts" : "cases");
      case "pick":
        if (this.tab === "alerts" && this.mayAcknowledge && this.held !== null) this.pick(this.held.alert.id);
        return;
      case "pick-all":
        if (this.tab === "alerts" && this.mayAcknowledge) this.pickAll();
        return;
      case "shelve":
        if (this.tab === "alerts" && this.chosenAlert !== null && this.mayAcknowledge) this.shelving = true;
        return;
      case "gate":
        return this.openGate();
      case "wall":
        this.wall = !this.wall;
        return;
      case "filter":
        return this.toggleRank(action.rank);
      case "sound":
        return this.toggleSound();
      case "language":
        return void this.toggleLanguage();
      case "help":
        this.helpOpen = true;
        return;
      case "search":
        this.pane = "list";
        return;
      case "escape":
        return this.escape();
    }
  }

  /** The one step that stands first: acknowledging an alert, or the next move of a case. */
  private primary(): void {
    if (this.tab !== "cases") {
      if (this.picked !== null) return void this.acknowledgePicked("");
      return void this.acknowledge();
    }
    void this.cases.openPrimary();
  }

  private moveTo(alert: Alert | undefined): void {
    this.tab = "alerts";
    if (alert !== undefined) this.chooseAlert(alert);
  }

  /** Escape takes back one thing at a time, the nearest first. */
  private escape(): void {
    if (this.helpOpen) this.helpOpen = false;
    else if (this.route !== null) this.openPage(null);
    else if (this.wall) this.wall = false;
    else if (this.past !== null) this.past = null;
    else if (this.shelving) this.shelving = false;
    else if (this.picked !== null) this.picked = null;
    else if (this.cases.form !== null) this.cases.closeForm();
    else if (this.cases.chosenId !== null) this.cases.unchoose();
    else if (this.chosenAsset !== null || this.held !== null) this.unchoose();
    else this.filter = NO_FILTER;
  }

  toggleRank(rank: Rank): void {
    this.openPage(null);
    this.filter = { ...this.filter, ranks: toggled(this.filter.ranks, rank) };
  }

  toggleFamily(family: Family): void {
    this.filter = { ...this.filter, families: toggled(this.filter.families, family) };
  }

  toggleKind(kind: Kind): void {
    this.filter = { ...this.filter, kinds: toggled(this.filter.kinds, kind) };
  }

  toggleZone(zone: string): void {
    this.filter = { ...this.filter, zones: toggled(this.filter.zones, zone) };
  }

  toggleUnacknowledged(): void {
    this.filter = { ...this.filter, unacknowledgedOnly: !this.filter.unacknowledgedOnly };
  }

  setStanding(standing: StandingName): void {
    const same = this.filter.standing === standing;
    this.filter = { ...this.filter, standing: same ? "annunciated" : standing };
    this.picked = null;
  }

  search(text: string): void {
    this.filter = { ...this.filter, text };
  }

  toggleSound(): void {
    this.sound = !this.sound;
    if (this.sound) this.voice.wake();
  }

  async toggleLanguage(): Promise<void> {
    const next = this.language === "zh" ? "en" : "zh";
    try {
      await loadWords(next);
    } catch {
      // Without its words the other language is of no use: the page stays in this one, and the next press tries again.
      return;
    }
    this.language = next;
    save.language(next);
  }

  nextTheme(): void {
    this.theme = this.theme === "auto" ? "light" : this.theme === "light" ? "dark" : "auto";
    save.theme(this.theme);
  }
}

function toggled<T>(set: ReadonlySet<T>, item: T): ReadonlySet<T> {
  const next = new Set(set);
  if (!next.delete(item)) next.add(item);
  return next;
}

/** A hub of before base maps has none: its ground is the schematic. */
async function readGround(): Promise<BaseMap> {
  try {
    return await api.basemap();
  } catch (error) {
    if (asApiError(error).code !== "not_found") throw error;
    return SCHEMATIC;
  }
}
