/** A list that nobody can scroll turns its pages itself. Pure. */

/** How long a page is shown, milliseconds: the time to read seven lines from across a room. */
export const PAGE_MS = 10_000;

export interface Turned<T> {
  rows: T[];
  /** From 0. */
  page: number;
  pages: number;
}

/** The page that is shown `shownMs` after the list began to turn. The pages go round for ever. */
export function turned<T>(rows: readonly T[], size: number, shownMs: number): Turned<T> {
  const pages = Math.max(1, Math.ceil(rows.length / size));
  const page = Math.floor(Math.max(0, shownMs) / PAGE_MS) % pages;
  return { rows: rows.slice(page * size, (page + 1) * size), page, pages };
}
