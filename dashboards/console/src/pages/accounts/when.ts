/** Times of accounts, in the reader's own zone: with their year, for they lie years apart. Pure but for the zone. */

const moment = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** Day and minute: 2026-07-01 09:05; a dash for no time. */
export function dateText(iso: string | null): string {
  return iso === null ? "—" : moment.format(new Date(iso));
}

/** The same to the second. */
export function exactText(iso: string): string {
  return exact.format(new Date(iso));
}

/** What a field of the type `datetime-local` holds as a time on the wire; nothing for an empty or unreadable one. */
export function fromLocalField(text: string): string | undefined {
  const at = text === "" ? Number.NaN : new Date(text).getTime();
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
}
