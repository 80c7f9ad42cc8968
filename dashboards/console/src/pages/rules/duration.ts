/** Durations as the hub writes them (`90s`, `15min`, `6h`), and as a form holds them: a whole number and its unit. Pure. */

export const UNITS = ["s", "min", "h", "d"] as const;
export type Unit = (typeof UNITS)[number];

const SECONDS: Record<Unit, number> = { s: 1, min: 60, h: 3600, d: 86_400 };

export interface Span {
  count: number;
  unit: Unit;
}

/** Reads a duration; what is none is nothing. Milliseconds are rounded to seconds. */
export function readSpan(text: string | null | undefined): Span | null {
  const [, digits, unit] = /^(\d+)\s*(ms|s|min|h|d)$/.exec(text ?? "") ?? [];
  if (digits === undefined || unit === undefined) return null;
  if (unit === "ms") return { count: Math.round(Number(digits) / 1000), unit: "s" };
  return { count: Number(digits), unit: unit as Unit };
}

export function writeSpan({ count, unit }: Span): string {
  return `${count}${unit}`;
}

/** How long it is; 0 for what is no duration. */
export function milliseconds(text: string | null | undefined): number {
  const span = readSpan(text);
  return span === null ? 0 : span.count * SECONDS[span.unit] * 1000;
}
