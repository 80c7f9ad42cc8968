/** The cases whose promise was broken, as the wall tells them. */

import type { Label, SeverityName } from "../api/types";

export type Step = "accept" | "arrive" | "fix";

/** The part of a case that a wall shows. */
export interface OverdueCase {
  id: number;
  title: Label;
  severity: SeverityName;
  unit: string | null;
  overdue: Step | null;
  deadlines: { accept: string | null; arrive: string | null; fix: string } | null;
}

/** The most cases that are read: a wall with more has another problem than its length. */
export const MAX_CASES = 200;
const TIMEOUT_MS = 15_000;

/** The overdue cases that are not closed. Throws when the hub does not answer, or not with them. */
export async function readOverdue(): Promise<OverdueCase[]> {
  const answer = await fetch(`/api/v1/cases?open=true&overdue=true&limit=${MAX_CASES}`, {
    headers: { accept: "application/json" },
    credentials: "same-origin",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!answer.ok) throw new Error(`the hub answers ${answer.status}`);
  return ((await answer.json()) as { cases: OverdueCase[] }).cases;
}

/** Since when a case is late, milliseconds since 1970; null when its step has no promise. */
export function lateSinceMs({ overdue, deadlines }: OverdueCase): number | null {
  const due = overdue === null || deadlines === null ? null : deadlines[overdue];
  return due === null ? null : Date.parse(due);
}

/** The latest first. */
export function byLateness(cases: readonly OverdueCase[]): OverdueCase[] {
  const since = (one: OverdueCase): number => lateSinceMs(one) ?? Number.POSITIVE_INFINITY;
  return [...cases].sort((a, b) => since(a) - since(b) || a.id - b.id);
}
