/** What an import is before and after the hub has seen it: formats, bounds, rows, the refused ones. Pure. */

import type { Schemas } from "../../api/hub";
import { csvText } from "../accounts/download";

export type Kind = "assets" | "devices" | "zones";
export type Format = "csv" | "geojson";
export type Row = Schemas["ImportRow"];
export type Report = Schemas["ImportReport"];

/** As the hub has them. */
export const MAX_BYTES = 32 * 1024 * 1024;
export const MAX_ROWS = 100_000;
/** How many rows of a result are drawn at a time. */
export const PAGE_ROWS = 100;

export const FORMATS: Record<Kind, readonly Format[]> = { assets: ["csv", "geojson"], devices: ["csv"], zones: ["geojson"] };
export const TYPES: Record<Format, string> = { csv: "text/csv", geojson: "application/geo+json" };

/** The columns of a table, the necessary ones first, and a table that shows them. */
export const COLUMNS: Record<"assets" | "devices", { required: string[]; optional: string[]; example: string }> = {
  assets: {
    required: ["id", "kind", "lon", "lat"],
    optional: ["name_zh", "name_en", "zone", "parent", "upstream"],
    example: "id,kind,name_zh,name_en,zone,parent,upstream,lon,lat\r\nMH-900,manhole,子夜路 9 号井,Ziye Road manhole 9,,,,120.4851,30.7454\r\n",
  },
  devices: {
    required: ["id", "profile"],
    optional: ["asset", "name_zh", "name_en", "modbus_endpoint", "modbus_unit", "gateway", "address", "secret"],
    example: "id,profile,asset,name_zh,name_en,modbus_endpoint,modbus_unit,gateway,address,secret\r\nmh-900,wz-mh1,MH-900,子夜路 9 号井水位计,Ziye Road level 9,,,,,\r\n",
  },
};

/** What a text looks like. */
export function formatOf(text: string): Format {
  return /^\uFEFF?\s*[{[]/.test(text) ? "geojson" : "csv";
}

/** The text of a file: UTF-8, or what spreadsheets in China save by default; `isGbk` tells which. */
export function decode(bytes: ArrayBuffer): { text: string; isGbk: boolean } {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), isGbk: false };
  } catch {
    return { text: new TextDecoder("gb18030").decode(bytes), isGbk: true };
  }
}

/** The records of a table as they stand in it, line ends left out; quoted fields may hold line ends. */
export function records(text: string): string[] {
  const found: string[] = [];
  let start = text.startsWith("\uFEFF") ? 1 : 0;
  let quoted = false;
  for (let at = start; at <= text.length; at += 1) {
    const code = at === text.length ? 10 : text.charCodeAt(at);
    if (code === 34) quoted = !quoted;
    const isEnd = at === text.length || (!quoted && (code === 10 || code === 13));
    if (!isEnd) continue;
    const record = text.slice(start, at);
    // Wholly empty lines are no records, for the hub neither.
    if (record !== "") found.push(record);
    start = at + 1;
  }
  return found;
}

interface Collection {
  type?: unknown;
  crs?: { properties?: { name?: unknown } } | null;
  features?: unknown;
}

export type Source =
  | { format: "csv"; text: string; header: string; rows: string[] }
  | { format: "geojson"; text: string; document: Collection; rows: unknown[] };

/** A text as rows; the code of what is wrong when it cannot be one. */
export function readSource(text: string, format: Format): Source | { fault: "empty" | "json" | "collection" | "rows" } {
  if (text.trim() === "") return { fault: "empty" };
  if (format === "csv") {
    const [header = "", ...rows] = records(text);
    if (rows.length === 0) return { fault: "empty" };
    return rows.length > MAX_ROWS ? { fault: "rows" } : { format, text, header, rows };
  }
  let document: Collection;
  try {
    document = JSON.parse(text.replace(/^\uFEFF/, "")) as Collection;
  } catch {
    return { fault: "json" };
  }
  if (document === null || typeof document !== "object" || document.type !== "FeatureCollection" || !Array.isArray(document.features)) {
    return { fault: "collection" };
  }
  const rows: unknown[] = document.features;
  if (rows.length === 0) return { fault: "empty" };
  return rows.length > MAX_ROWS ? { fault: "rows" } : { format, text, document, rows };
}

/** How many bytes are sent. */
export function bytesOf(text: string): number {
  return new Blob([text]).size;
}

/** The reference systems that an operator may name; the hub takes the first two, which are one to a centimetre. */
export const SYSTEMS = ["wgs84", "cgcs2000", "gcj02", "bd09", "other"] as const;
export type System = (typeof SYSTEMS)[number];

export function isTaken(system: System | ""): boolean {
  return system === "wgs84" || system === "cgcs2000";
}

/** What a document says of itself; nothing when it says nothing. */
export function systemOf(source: Source): System | null {
  const name = source.format === "geojson" ? source.document.crs?.properties?.name : undefined;
  if (typeof name !== "string") return null;
  const code = name.split(":").at(-1) ?? "";
  if (code === "CRS84" || code === "4326") return "wgs84";
  return code === "4490" ? "cgcs2000" : "other";
}

/** The source without these rows (numbers from 1), and the numbers that the rest had. */
export function without(source: Source, refused: ReadonlySet<number>, numbers: readonly number[]): { text: string; numbers: number[] } {
  const kept = source.rows.map((_, at) => at).filter((at) => !refused.has(at + 1));
  const rows = kept.map((at) => source.rows[at]);
  const text =
    source.format === "csv"
      ? `${[source.header, ...rows].join("\r\n")}\r\n`
      : JSON.stringify({ ...source.document, features: rows });
  return { text, numbers: kept.map((at) => numbers[at] ?? at + 1) };
}

/** A table of the refused rows: number, id and reasons, and for a table what stood in it, to be mended. */
export function refusedCsv(source: Source, report: Report, numbers: readonly number[], spoken: (said: string) => string): string {
  const refused = report.rows.filter(({ status }) => status === "rejected");
  const head = (row: Row): [number, string, string] => [numbers[row.row - 1] ?? row.row, row.id ?? "", row.errors.map(spoken).join("; ")];
  if (source.format === "geojson") return csvText([["row", "id", "refused"], ...refused.map(head)]);
  return refused.reduce(
    (text, row) => {
      const [number, , why] = head(row);
      return `${text}${csvText([[number, why]]).trimEnd()},${source.rows[row.row - 1] ?? ""}\r\n`;
    },
    `row,refused,${source.header}\r\n`,
  );
}

/** The secrets that an import made. */
export function secretsOf(report: Report): { id: string; secret: string }[] {
  return report.rows.flatMap(({ id, secret }) => (id !== null && typeof secret === "string" ? [{ id, secret }] : []));
}

/** How many rows there are of each fate. */
export function countRows(report: Report): Record<Row["status"], number> {
  const counts = { created: 0, updated: 0, unchanged: 0, rejected: 0 };
  for (const { status } of report.rows) counts[status] += 1;
  return counts;
}

/** Size in words: 1.2 MB. */
export function sizeText(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
