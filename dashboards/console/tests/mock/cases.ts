/** The case room of the mock hub: the same moves, guards and refusals as `src/case/machine.rs`, in memory. */

import type { Case, CaseDetail, CaseEvent, Label, Lacking, MoveKind, Right, SeverityName, Unit } from "../../src/api/types";
import type { MockTown } from "./town";

/** Who asks. */
export interface MockUser {
  name: string;
  role: string;
  label: Label;
  rights: Right[];
}

const both = (zh: string, en: string): Label => ({ zh, en });

export const USERS: Record<string, MockUser> = {
  admin: {
    name: "admin", role: "admin", label: both("管理员", "administrator"),
    rights: ["view", "acknowledge", "operate", "dispatch", "handle", "verify", "supervise", "engineer", "administer"],
  },
  wang: { name: "wang", role: "operator", label: both("值班员", "operator"), rights: ["view", "acknowledge", "operate"] },
  chen: { name: "chen", role: "dispatcher", label: both("派遣员", "dispatcher"), rights: ["view", "acknowledge", "dispatch"] },
  li: { name: "li", role: "handler", label: both("处置员", "handler"), rights: ["view", "handle"] },
  zhao: {
    name: "zhao", role: "supervisor", label: both("监督员", "supervisor"),
    rights: ["view", "acknowledge", "operate", "verify", "supervise"],
  },
};

export const UNITS: Unit[] = [
  { id: "drainage-1", name: both("排水养护一班", "Drainage crew 1"), zones: [], kinds: ["manhole", "pipe"], members: ["li", "zhou"], version: 1 },
  { id: "gates", name: both("水闸班", "Gate crew"), zones: [], kinds: ["sluice-gate", "canal-gauge"], members: ["sun"], version: 1 },
  { id: "instruments", name: both("仪表维护组", "Instrument crew"), zones: [], kinds: [], members: ["qian"], version: 1 },
];

export class Refused {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly members: Record<string, unknown> = {},
  ) {}
}

interface Body {
  version?: number;
  note?: string;
  unit?: string;
  person?: string;
  reason?: string;
  site_check?: string;
  photos?: string[];
}

/** Minutes that each step may take, by severity. */
const PROMISES: Record<SeverityName, [number | null, number | null, number]> = {
  critical: [5, 30, 120],
  major: [15, 60, 360],
  minor: [30, 240, 1440],
  info: [null, null, 4320],
};
const NEEDS: Record<MoveKind, Right> = {
  dispatch: "dispatch", accept: "handle", return: "handle", recall: "dispatch", handle: "handle", report: "handle",
  verify: "verify", reject: "verify", close: "verify",
};
const TOLD: Record<MoveKind, string> = {
  dispatch: "dispatched", accept: "accepted", return: "returned", recall: "returned", handle: "handled", report: "reported",
  verify: "verified", reject: "rejected", close: "closed",
};

export class CaseDesk {
  readonly cases = new Map<number, Case>();
  readonly events = new Map<number, CaseEvent[]>();
  readonly photos = new Map<string, Buffer>();
  /** Moves that were made, in order. */
  readonly made: { id: number; kind: string; by: string; body: Body }[] = [];
  private lastId = 0;

  constructor(
    private readonly town: () => MockTown,
    private readonly nowMs: () => number,
    private readonly tell: (one: Case) => void,
  ) {}

  private at(agoMin = 0): string {
    return new Date(this.nowMs() - agoMin * 60_000).toISOString();
  }

  open(subject: Pick<Case, "asset" | "kind" | "title" | "severity">, alerts: number[], by: string | null, agoMin = 0, more: Partial<Case> = {}): Case {
    this.lastId += 1;
    const one: Case = {
      id: this.lastId, version: 1, zone: "wuzhen", device: null, ...subject, stage: "opened", alerts,
      opened_at: this.at(agoMin), opened_by: by, deadlines: null, arrived_at: null, reported_at: null, closed_at: null,
      overdue: null, escalation: 0, reopens: null, reopened_as: null, ...more,
    };
    this.cases.set(one.id, one);
    this.events.set(one.id, [{ case: one.id, version: 1, at: one.opened_at, actor: by, note: null, what: "opened", severity: one.severity }]);
    this.tell(one);
    return one;
  }

  /** What the sensors of a case still lack. */
  private lacking(one: Case): Lacking[] {
    return one.alerts.flatMap((id): Lacking[] => {
      const alert = this.town().alerts.find((candidate) => candidate.id === id);
      if (alert === undefined || !alert.active) return [];
      if (alert.kind === "no_data") return [{ alert: id, missing: "fresh", observed_at: alert.since }];
      return [{ alert: id, missing: "clear", value: alert.value, clear: alert.clear, unit: alert.unit ?? "1" }];
    });
  }

  private allowed(one: Case, user: MockUser): MoveKind[] {
    const may = (kind: MoveKind): boolean => user.rights.includes(NEEDS[kind]);
    const ours = UNITS.some(({ id, members }) => id === one.unit && members.includes(user.name));
    const isMine = ours && (one.stage !== "dispatched" || !one.person || one.person === user.name);
    const begins: Record<Case["stage"], MoveKind[]> = {
      opened: ["dispatch", "close"],
      dispatched: [...(isMine ? (["accept", "return"] as MoveKind[]) : []), "recall"],
      accepted: [...(isMine ? (["return", "handle", "report"] as MoveKind[]) : []), "recall"],
      reported: [...(one.handler === user.name ? [] : (["verify"] as MoveKind[])), "reject"],
      verified: ["reject", "close"],
      closed: [],
    };
    return begins[one.stage].filter(may);
  }

  show(id: number, user: MockUser): CaseDetail {
    const one = this.find(id);
    const suggested = UNITS.find(({ kinds }) => one.kind !== null && kinds.includes(one.kind)) ?? UNITS.at(-1);
    return {
      case: one, allowed: this.allowed(one, user), lacking: one.stage === "closed" ? [] : this.lacking(one),
      suggested_unit: suggested?.id ?? null, events: this.events.get(id) ?? [],
    };
  }

  find(id: number): Case {
    const one = this.cases.get(id);
    if (one === undefined) throw new Refused(404, "not_found");
    return one;
  }

  make(id: number, kind: MoveKind, body: Body, user: MockUser, agoMin = 0): Case {
    const one = this.find(id);
    if (!(kind in NEEDS)) throw new Refused(404, "not_found");
    if (body.version !== one.version) throw new Refused(409, "version_conflict", { id, current: one.version, given: body.version });
    if (!user.rights.includes(NEEDS[kind])) throw new Refused(403, "forbidden", { needs: NEEDS[kind] });
    if (kind === "verify" && one.handler === user.name) throw new Refused(403, "forbidden", { handler: user.name });
    const allowed = this.allowed(one, user);
    if (!allowed.includes(kind)) throw new Refused(409, "illegal_move", { stage: one.stage, allowed });
    if (["return", "recall", "reject"].includes(kind) && !body.reason?.trim()) throw new Refused(400, "bad_body");
    const lacking = this.lacking(one);
    if (kind === "close" && lacking.length > 0 && !body.site_check?.trim()) {
      throw new Refused(409, "sensor_disagrees", { lacking, allowed });
    }
    for (const name of body.photos ?? []) if (!this.photos.has(name)) throw new Refused(400, "bad_body");
    this.made.push({ id, kind, by: user.name, body });
    return this.tellOf(one, kind, body, user, this.at(agoMin));
  }

  private tellOf(one: Case, kind: MoveKind, body: Body, user: MockUser, at: string): Case {
    const { unit, person, handler, verifier, ...bare } = one;
    const next: Case = { ...one, version: one.version + 1 };
    const settle = (): void => void Object.assign(next, { overdue: null, escalation: 0 });
    const event: CaseEvent = { case: one.id, version: next.version, at, actor: user.name, note: body.note?.trim() || null, what: TOLD[kind] };
    if (kind === "dispatch") {
      const [accept, arrive, fix] = PROMISES[one.severity];
      const due = (minutes: number | null): string | null => (minutes === null ? null : new Date(Date.parse(at) + minutes * 60_000).toISOString());
      const deadlines = { dispatched_at: at, accept: due(accept), arrive: due(arrive), fix: due(fix) ?? at };
      Object.assign(next, { stage: "dispatched", unit: body.unit, person: body.person ?? null, deadlines, arrived_at: null });
      Object.assign(event, { unit: body.unit, person: body.person ?? null });
      settle();
    }
    if (kind === "accept") settle(), Object.assign(next, { stage: "accepted", handler: user.name }), delete next.person;
    if (kind === "handle") {
      if (next.arrived_at === null) settle(), (next.arrived_at = at);
      event.photos = body.photos ?? [];
    }
    if (kind === "report") settle(), Object.assign(next, { stage: "reported", reported_at: at });
    if (kind === "verify") Object.assign(next, { stage: "verified", verifier: user.name });
    if (["return", "recall", "reject"].includes(kind)) {
      event.reason = body.reason ?? "";
      Object.assign(next, { ...bare, version: next.version, stage: "opened", overdue: null, escalation: 0 });
      for (const gone of ["unit", "person", "handler", "verifier"] as const) delete next[gone];
    }
    if (kind === "close") {
      const proof = body.site_check ? { by: "site_check" as const, person: user.name, reason: body.site_check } : { by: "sensor" as const };
      Object.assign(next, { stage: "closed", proof, closed_at: at });
      event.proof = proof;
      settle();
    }
    this.put(next, event);
    return next;
  }

  private put(one: Case, event: CaseEvent): void {
    this.cases.set(one.id, one);
    this.events.get(one.id)?.push(event);
    this.tell(one);
  }

  /** A step's deadline has passed, says the hub. */
  overdue(id: number, level = 0): void {
    const one = this.find(id);
    const step = one.stage === "dispatched" ? "accept" : one.arrived_at === null ? "arrive" : "fix";
    const late = { ...one, version: one.version + 1, overdue: step } as Case;
    this.put(late, { case: id, version: late.version, at: this.at(), actor: null, note: null, what: "overdue", step });
    if (level === 0) return;
    const told = { ...late, version: late.version + 1, escalation: level };
    this.put(told, { case: id, version: told.version, at: this.at(), actor: null, note: null, what: "escalated", level });
  }

  attach(id: number, alert: number, user: MockUser | null): Case {
    const one = this.find(id);
    if (one.alerts.includes(alert)) return one;
    const next = { ...one, version: one.version + 1, alerts: [...one.alerts, alert] };
    this.put(next, { case: id, version: next.version, at: this.at(), actor: user?.name ?? null, note: null, what: "attached", alert });
    return next;
  }

  reopen(id: number, reason: string, user: MockUser): Case {
    const closed = this.find(id);
    if (closed.stage !== "closed" || closed.reopened_as !== null) throw new Refused(409, "illegal_move", { id });
    const { asset, kind, title, severity } = closed;
    const opened = this.open({ asset, kind, title, severity }, [], user.name, 0, { reopens: id });
    (this.events.get(opened.id) ?? [])[0]!.note = reason;
    const next = { ...closed, version: closed.version + 1, reopened_as: opened.id };
    this.put(next, { case: id, version: next.version, at: this.at(), actor: user.name, note: null, what: "reopened", by: opened.id });
    return opened;
  }

  /** Keeps a photo; its type is told by its first bytes, as the hub does. */
  putPhoto(bytes: Buffer): string {
    if (bytes.length > 4 * 1024 * 1024) throw new Refused(413, "too_large");
    const isKnown = bytes.subarray(0, 3).toString("hex") === "ffd8ff" || bytes.subarray(1, 4).toString() === "PNG";
    if (!isKnown) throw new Refused(400, "bad_body");
    const name = `photo-${bytes.length}-${bytes.subarray(-8).toString("hex")}.jpg`;
    this.photos.set(name, bytes);
    return name;
  }
}

/** A day's work: cases at every stage, some late. */
export function workday(desk: CaseDesk, town: MockTown): void {
  const who = (name: string): MockUser => USERS[name] as MockUser;
  const from = (alertId: number, agoMin: number): Case => {
    const alert = town.alerts.find(({ id }) => id === alertId);
    const properties = town.features.find(({ id }) => id === alert?.asset_number)?.properties;
    if (alert === undefined || properties === undefined) throw new Error(`no alert ${alertId}`);
    return desk.open({ asset: String(properties.asset), kind: properties.kind, title: alert.text, severity: alert.severity }, [alertId], null, agoMin);
  };
  const move = (one: Case, kind: MoveKind, by: string, agoMin: number, body: Body = {}): void => {
    desk.make(one.id, kind, { version: desk.find(one.id).version, ...body }, who(by), agoMin);
  };
  from(101, 4);
  const late = from(102, 51);
  desk.attach(late.id, 103, null);
  move(late, "dispatch", "chen", 49, { unit: "drainage-1", note: "请先看一号泵" });
  move(late, "accept", "li", 46);
  desk.overdue(late.id, 1);
  const fresh = from(104, 18);
  move(fresh, "dispatch", "chen", 3, { unit: "drainage-1", person: "li" });
  const waiting = from(105, 22);
  move(waiting, "dispatch", "chen", 20, { unit: "gates" });
  desk.overdue(waiting.id);
  const done = from(109, 33);
  move(done, "dispatch", "chen", 31, { unit: "instruments" });
  desk.cases.set(done.id, { ...desk.find(done.id), stage: "reported", handler: "qian", arrived_at: done.opened_at, reported_at: new Date(Date.parse(done.opened_at) + 1_500_000).toISOString() });
  const silt = from(108, 65);
  move(silt, "dispatch", "chen", 60, { unit: "drainage-1", person: "li" });
  move(silt, "accept", "li", 55);
  move(silt, "handle", "li", 40, { note: "管口有淤泥,正在清理" });
  move(silt, "report", "li", 12, { note: "清淤完成,流速恢复" });
  move(silt, "verify", "zhao", 6);
}
