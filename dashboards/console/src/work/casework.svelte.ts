/** The state of the work on cases: the list, the chosen case with its open form, and the queue of the field. */

import { api, ApiError, asApiError } from "../api/client";
import type { Alert, Case, CaseDetail, CaseEvent, MoveBody, MoveKind, Unit } from "../api/types";
import type { Console } from "../console.svelte";
import { wallMs } from "../clock";
import { nextOf, step } from "../town/select";
import { withCase } from "../town/town";
import {
  assetOfCase,
  FIELD_MOVES,
  fieldMoves,
  isOwnMove,
  listCases,
  NO_CASE_FILTER,
  overdueCases,
  personOf,
  primaryMove,
  project,
  REASONED,
  tasksOf,
  waitsFor,
  type CaseFilter,
} from "./cases";
import type { Outbox, Queued } from "./outbox";
import type { PhotoFault } from "./photo";

/** Reading a case anew waits for so long after an event, so that a burst of events is one read, milliseconds. */
const REREAD_MS = 150;
/** How long a change is shown before it can be confirmed, milliseconds. */
const LOOK_MS = 1_000;
/** Waits between attempts to send the queue, milliseconds. */
const RESEND_MS = 4_000;

/** What has been written into the open form. */
export interface Draft {
  note: string;
  reason: string;
  unit: string;
  person: string;
  siteCheck: boolean;
  photos: { blob: Blob; url: string }[];
}

const emptyDraft = (): Draft => ({ note: "", reason: "", unit: "", person: "", siteCheck: false, photos: [] });

export class Casework {
  filter = $state.raw<CaseFilter>(NO_CASE_FILTER);
  /** Closed cases, read when they are asked for; nothing until they are here. */
  closed = $state.raw<Case[] | null>(null);
  units = $state.raw<Unit[]>([]);
  /** Whether the units were read: before that nobody's own unit is known. */
  private hasUnits = $state(false);
  chosenId = $state<number | null>(null);
  detail = $state.raw<CaseDetail | null>(null);
  /** The code of the error when the case cannot be read. */
  detailError = $state<string | null>(null);
  form = $state<MoveKind | "reopen" | null>(null);
  draft = $state<Draft>(emptyDraft());
  photoFault = $state<PhotoFault | null>(null);
  busy = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** What others did while a form was open: shown in place of a bare refusal. */
  changed = $state.raw<CaseEvent[]>([]);
  /** A change has just been shown: the button waits for a moment, so that a hand already on its way does not confirm it. */
  looking = $state(false);
  queue = $state.raw<Queued[]>([]);
  /** Whether the last attempt to send found a link. */
  linked = $state(true);

  private readonly hub: Console;
  /** Readings of a case, counted: the latest that was asked for, and that was answered. */
  private asked = 0;
  private answered = 0;
  private outbox: Outbox | null = null;
  private rereadTimer: ReturnType<typeof setTimeout> | undefined;
  private resendTimer: ReturnType<typeof setInterval> | undefined;

  constructor(hub: Console) {
    this.hub = hub;
  }

  me = $derived.by(() => {
    const session = this.hub.session;
    return personOf(session?.user.name ?? "", session?.rights ?? [], this.units);
  });
  /** Whether it is known who this is and of which unit: what waits for a person is told only then. */
  isKnown = $derived.by(() => this.hub.session !== null && this.hasUnits);
  /** Cases as they will be once the queue is sent. */
  private projected = $derived.by((): ReadonlyMap<number, Case> => {
    // As a rule nothing waits; what is derived from the cases then rests while other things of the town change.
    if (this.queue.length === 0) return this.hub.town.cases;
    const cases = new Map(this.hub.town.cases);
    for (const id of new Set(this.queue.map((move) => move.case))) {
      const one = cases.get(id);
      if (one === undefined) continue;
      const waiting = this.queue.filter((move) => move.case === id && move.refused === null && move.version >= one.version);
      cases.set(id, project(one, waiting, this.me.name, this.hub.nowMs));
    }
    return cases;
  });
  list = $derived.by(() => {
    const { town, filter, nowMs } = this.hub;
    const known = this.filter.stages.has("closed") ? (this.closed ?? []) : this.projected.values();
    return listCases(known, town, filter, this.filter, this.me, nowMs);
  });
  tasks = $derived.by(() => tasksOf(this.projected.values(), this.me, this.hub.nowMs));
  /** How many wait for this person. */
  waiting = $derived.by(() => [...this.projected.values()].filter((one) => waitsFor(one, this.me)).length);
  overdue = $derived.by(() => overdueCases(this.projected.values(), this.hub.nowMs));
  chosen = $derived(
    this.chosenId === null ? null : (this.projected.get(this.chosenId) ?? (this.detail?.case.id === this.chosenId ? this.detail.case : null)),
  );
  /** The moves of the chosen case that wait for the link. */
  queued = $derived(this.queue.filter((move) => move.case === this.chosenId));
  allowed = $derived.by<MoveKind[]>(() => {
    const { chosen } = this;
    // A move is written down under a name.
    if (chosen === null || this.hub.session === null) return [];
    if (this.queued.length > 0) return this.queued.some(({ refused }) => refused !== null) ? [] : fieldMoves(chosen);
    if (this.detail?.case.id === chosen.id && this.detail.case.stage === chosen.stage) return this.detail.allowed;
    // The feed, or a task that was taken up without a link, is ahead of the detail.
    return this.me.rights.includes("handle") && waitsFor(chosen, this.me) ? fieldMoves(chosen) : [];
  });
  primary = $derived(this.chosen === null ? null : primaryMove(this.chosen, this.allowed));
  mayReopen = $derived(
    this.chosen?.stage === "closed" && this.chosen.reopened_as === null && this.me.rights.includes("acknowledge"),
  );

  /** Takes up the queue of an earlier page, and sends when there is a link. The answer ends it. */
  start(): () => void {
    void this.readUnits();
    void this.openQueue();
    const send = (): void => void this.send();
    addEventListener("online", send);
    this.resendTimer = setInterval(() => this.queue.length > 0 && send(), RESEND_MS);
    return () => {
      removeEventListener("online", send);
      clearInterval(this.resendTimer);
    };
  }

  private async openQueue(): Promise<void> {
    const { openShelf, Outbox } = await import("./outbox");
    const outbox = new Outbox(await openShelf(), api, (moves, made) => {
      this.queue = moves;
      if (made !== null) this.take(made);
    });
    await outbox.start();
    this.outbox = outbox;
    await this.send();
  }

  private async readUnits(): Promise<void> {
    try {
      this.units = await api.units();
      this.hasUnits = true;
    } catch {
      // Asked again with the next case that is opened.
    }
  }

  // --- choosing ---

  choose(id: number): void {
    if (this.chosenId !== id) {
      this.closeForm();
      this.detail = null;
      this.detailError = null;
      this.chosenId = id;
    }
    const one = this.chosen ?? this.closed?.find((closed) => closed.id === id);
    const asset = one && assetOfCase(this.hub.town, one);
    this.hub.follow(asset?.number ?? null);
    void this.readDetail();
  }

  unchoose(): void {
    this.closeForm();
    this.chosenId = null;
    this.detail = null;
    this.hub.follow(null);
  }

  step(by: 1 | -1): void {
    const next = step(this.list, this.chosenId, by);
    if (next !== undefined) this.choose(next.id);
  }

  /** The next case that waits for this person, after the chosen one and round again. */
  next(): void {
    const next = nextOf(this.list, this.chosenId, (one) => waitsFor(one, this.me));
    if (next !== undefined) this.choose(next.id);
  }

  async readDetail(): Promise<void> {
    const id = this.chosenId;
    if (id === null) return;
    if (this.units.length === 0) void this.readUnits();
    const mine = (this.asked += 1);
    try {
      const detail = await api.case(id);
      if (this.chosenId !== id) return;
      // An answer that a later question's has overtaken is old.
      if (mine < this.answered) return;
      this.answered = mine;
      this.detail = detail;
      this.detailError = null;
      this.take(detail.case);
      if (this.chosen?.asset !== null) this.hub.follow(assetOfCase(this.hub.town, detail.case)?.number ?? null);
    } catch (error) {
      if (this.chosenId === id) this.detailError = asApiError(error).code;
    }
  }

  async readClosed(): Promise<void> {
    this.closed = null;
    try {
      this.closed = await api.closedCases();
    } catch (error) {
      this.closed = [];
      this.error = error instanceof ApiError ? error : null;
    }
  }

  /** A case changed, says the feed. */
  heard(one: Case): void {
    if (one.id !== this.chosenId) return;
    clearTimeout(this.rereadTimer);
    this.rereadTimer = setTimeout(() => void this.reread(), REREAD_MS);
  }

  /** Reads the chosen case anew; an open form learns what others did meanwhile. */
  private async reread(): Promise<void> {
    const [id, before] = [this.chosenId, this.detail?.case.version];
    await this.readDetail();
    if (this.form !== null && !this.busy && before !== undefined && this.detail?.case.id === id) {
      this.show(this.detail.events.filter(({ version, actor }) => version > before && actor !== this.me.name));
    }
  }

  private show(news: CaseEvent[]): void {
    if (news.length === 0) return;
    this.changed = [...this.changed, ...news];
    this.looking = true;
    setTimeout(() => (this.looking = false), LOOK_MS);
  }

  private take(one: Case): void {
    this.hub.town = withCase(this.hub.town, one);
    if (one.stage === "closed" && this.closed?.some(({ id }) => id === one.id)) {
      this.closed = this.closed.map((known) => (known.id === one.id ? one : known));
    }
  }

  // --- filtering ---

  toggle(what: "mine" | "overdue"): void {
    this.filter = { ...this.filter, [what]: !this.filter[what] };
  }

  setStage(stage: Case["stage"] | null): void {
    this.filter = { ...this.filter, stages: new Set(stage === null ? [] : [stage]) };
    if (stage === "closed") void this.readClosed();
  }

  // --- moving: nothing of it while the map plays back the past ---

  open(kind: MoveKind | "reopen"): void {
    if (this.hub.past !== null) return;
    this.closeForm();
    this.form = kind;
    if (kind === "dispatch") this.draft.unit = this.detail?.suggested_unit ?? this.units[0]?.id ?? "";
  }

  /** Opens the form of the move that stands first; a press that comes before the hub's answer waits for it. */
  async openPrimary(): Promise<void> {
    const id = this.chosenId;
    if (id === null || this.form !== null) return;
    await this.hub.introduced;
    // The detail may lag behind the move that was just made.
    const isBehind = this.detail === null || (this.queued.length === 0 && this.detail.case.version < (this.chosen?.version ?? 0));
    if (isBehind) await this.readDetail();
    if (this.chosenId === id && this.primary !== null && this.form === null) this.open(this.primary);
  }

  closeForm(): void {
    for (const { url } of this.draft.photos) URL.revokeObjectURL(url);
    this.form = null;
    this.draft = emptyDraft();
    this.photoFault = null;
    this.error = null;
    this.changed = [];
  }

  async addPhotos(files: Iterable<File>): Promise<void> {
    this.photoFault = null;
    const { draft } = this;
    const { MAX_PHOTOS, preparePhoto } = await import("./photo");
    for (const file of files) {
      if (this.draft.photos.length >= MAX_PHOTOS) return;
      const photo = await preparePhoto(file);
      // The form was closed meanwhile.
      if (this.draft !== draft) return;
      if (typeof photo === "string") this.photoFault = photo;
      else this.draft.photos.push({ blob: photo, url: URL.createObjectURL(photo) });
    }
  }

  dropPhoto(at: number): void {
    const [gone] = this.draft.photos.splice(at, 1);
    if (gone !== undefined) URL.revokeObjectURL(gone.url);
  }

  /** The body of the move as the form has it. */
  private body(kind: MoveKind): MoveBody {
    const { draft } = this;
    const [note, reason] = [draft.note.trim(), draft.reason.trim()];
    return {
      ...(note === "" ? {} : { note }),
      ...(REASONED.includes(kind) ? { reason } : {}),
      ...(kind === "dispatch" ? { unit: draft.unit, ...(draft.person === "" ? {} : { person: draft.person }) } : {}),
      ...(kind === "close" && draft.siteCheck ? { site_check: reason } : {}),
    };
  }

  async submit(): Promise<void> {
    const [one, form] = [this.chosen, this.form];
    if (one === null || form === null || this.busy || this.hub.past !== null) return;
    const { draft } = this;
    this.busy = true;
    this.error = null;
    try {
      if (form === "reopen") {
        const opened = await api.reopen(one.id, draft.reason.trim());
        this.take(opened);
        if (this.draft !== draft) return;
        this.setStage(null);
        this.choose(opened.id);
      } else if (FIELD_MOVES.includes(form) && this.outbox !== null) {
        await this.enqueue(one, form, this.body(form));
      } else {
        await this.make(one, form, this.body(form));
      }
    } catch (error) {
      // A refusal is told in the form that it is of.
      if (this.draft === draft) this.error = asApiError(error);
    } finally {
      this.busy = false;
    }
  }

  private async enqueue(one: Case, kind: MoveKind, body: MoveBody): Promise<void> {
    const { draft } = this;
    const photos = kind === "handle" ? draft.photos.map(({ blob }) => blob) : [];
    await this.outbox?.add({
      person: this.me.name, case: one.id, kind, version: one.version, body, photos, queuedAtMs: wallMs(),
    });
    // It is safe now; the sending goes on behind, and the next move need not wait for it.
    if (this.draft === draft) this.closeForm();
    void this.send();
  }

  /** A move of the desk: made at once or refused; what was refused for its version is shown as what changed. */
  private async make(one: Case, kind: MoveKind, body: MoveBody): Promise<void> {
    const { draft } = this;
    try {
      this.take(await api.move(one.id, kind, one.version, body));
    } catch (error) {
      // Whoever has gone on to another case or form meanwhile is not told of this one there.
      if (this.draft !== draft) return;
      const isStale = error instanceof ApiError && error.code === "version_conflict";
      await this.readDetail();
      if (this.draft !== draft) return;
      if (!isStale && !(error instanceof ApiError && error.isUncertain)) throw error;
      const events = this.detail?.events ?? [];
      if (!isOwnMove(events, { kind, version: one.version, body }, this.me.name)) {
        this.show(events.filter(({ version }) => version > one.version));
        throw error;
      }
    }
    if (this.draft === draft) this.closeForm();
    await this.readDetail();
  }

  /** Sends what waits. */
  async send(): Promise<void> {
    if (this.outbox === null || this.hub.session === null) return;
    const before = this.queue.length;
    this.linked = await this.outbox.flush(this.hub.session.user.name);
    if (this.queue.length !== before) void this.readDetail();
  }

  /** Puts a refused move onto the case as it is now. */
  async retry(): Promise<void> {
    if (this.hub.past !== null) return;
    const one = this.chosenId === null ? undefined : this.hub.town.cases.get(this.chosenId);
    if (one !== undefined) await this.outbox?.retry(one.id, one.version, this.me.name);
    await this.readDetail();
  }

  async drop(key: number): Promise<void> {
    await this.outbox?.drop(key);
  }

  /** Opens a case by hand for an alert that has none. */
  async openFor(alert: Alert): Promise<void> {
    if (this.busy || this.hub.past !== null) return;
    this.busy = true;
    try {
      const asset = alert.asset === null ? {} : { asset: String(alert.asset) };
      const opened = await api.openCase({ title: alert.text, severity: alert.severity, ...asset });
      this.take(opened);
      this.take(await api.attach(opened.id, alert.id));
      // The case is shown to whoever still stands at its alert.
      if (this.hub.tab !== "alerts" || this.hub.chosenAlert?.id !== alert.id) return;
      this.hub.tab = "cases";
      this.choose(opened.id);
    } catch (error) {
      if (this.hub.chosenAlert?.id === alert.id) this.hub.actionError = asApiError(error).code;
    } finally {
      this.busy = false;
    }
  }
}
