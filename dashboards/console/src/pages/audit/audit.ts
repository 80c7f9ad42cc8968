/** What the audit page knows of the log. Pure. */

import type { Schemas } from "../../api/hub";

export type Entry = Schemas["AuditEntry"];

/** How many entries a page has. */
export const PAGE = 100;

/** A hole in the numbers of a page that is not filtered, newest first: between two that follow each other some are missing. */
export function gapIn(entries: readonly Pick<Entry, "seq">[]): { after: number; count: number } | null {
  for (const [at, { seq }] of entries.entries()) {
    const next = entries[at + 1];
    if (next !== undefined && next.seq !== seq - 1) return { after: next.seq, count: seq - next.seq - 1 };
  }
  return null;
}

const MOST_FACTS = 4;
const MOST_CHARS = 120;
const MOST_LISTED = 6;

/** What an entry's detail says, short enough for a row: what changed, else its first plain values. */
export function briefText(detail: unknown, timeText: (iso: string) => string = (iso) => iso): string {
  const facts = changesIn(detail) ?? [];
  if (facts.length === 0) collect(detail, "", facts);
  const text = facts
    .slice(0, MOST_FACTS)
    .map((fact) => fact.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, timeText))
    .join(" · ");
  const isCut = facts.length > MOST_FACTS || text.length > MOST_CHARS;
  return isCut ? `${text.slice(0, MOST_CHARS).trimEnd()} …` : text;
}

/** A change as `role: viewer → operator`; nothing where the detail tells of none. */
function changesIn(detail: unknown): string[] | null {
  if (typeof detail !== "object" || detail === null) return null;
  const { before, after } = detail as { before?: unknown; after?: unknown };
  if (typeof before !== "object" || typeof after !== "object" || before === null || after === null) return null;
  const [was, is] = [before as Record<string, unknown>, after as Record<string, unknown>];
  const names = Object.keys(is).filter((name) => JSON.stringify(is[name]) !== JSON.stringify(was[name]));
  const plain = (value: unknown): string => (value === null || value === undefined ? "—" : typeof value === "string" ? value : JSON.stringify(value));
  return names.map((name) => `${name}: ${plain(was[name])} → ${plain(is[name])}`);
}

function collect(value: unknown, name: string, facts: string[]): void {
  if (facts.length > MOST_FACTS || value === null || value === undefined) return;
  if (Array.isArray(value)) {
    // Lists of plain values are read as one; positions and other lists of lists are not worth a row.
    const isPlain = value.length > 0 && value.every((one) => typeof one !== "object");
    if (isPlain) facts.push(label(name, value.slice(0, MOST_LISTED).join(", ") + (value.length > MOST_LISTED ? " …" : "")));
    else if (value.length > 0) facts.push(label(name, `[${value.length}]`));
  } else if (typeof value === "object") {
    const entries = Object.entries(value);
    // Both languages of a name are one fact.
    const { zh, en } = value as { zh?: unknown; en?: unknown };
    if (entries.length === 2 && typeof zh === "string" && typeof en === "string") facts.push(label(name, zh === en ? zh : `${zh} / ${en}`));
    else for (const [key, one] of entries) collect(one, name === "" || name === "happened" ? key : `${name}.${key}`, facts);
  } else {
    facts.push(label(name, String(value)));
  }
}

function label(name: string, text: string): string {
  return name === "" ? text : `${name}: ${text}`;
}

/** The filter in the page's address as the hub's query; times there are those of a `datetime-local` field. */
export function auditQuery(query: Readonly<Record<string, string>>, toIso: (field: string) => string | undefined) {
  const { actor, thing, subject, from, to, before } = query;
  const action = thing === undefined || thing === "" ? undefined : thing.includes(".") ? thing : `${thing}.`;
  return {
    ...(actor ? { actor } : {}),
    ...(action ? { action } : {}),
    ...(subject ? { subject } : {}),
    ...some("from", toIso(from ?? "")),
    ...some("to", toIso(to ?? "")),
    ...(/^\d+$/.test(before ?? "") ? { before: Number(before) } : {}),
    limit: PAGE,
  };
}

function some<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: string };
}
