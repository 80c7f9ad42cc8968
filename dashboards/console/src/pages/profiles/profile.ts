/** Profiles as the page shows them: faults taken apart, the payload's format out of the file's text. Pure. */

/** A fault of a profile file: where, what, and the line itself with its mark. */
export interface Fault {
  line: number | null;
  column: number | null;
  text: string;
  excerpt: string;
}

/** Takes apart `file.toml:15:2: what is wrong`, followed by the line and its mark. */
export function faultOf(error: string, file: string): Fault {
  const [first = "", ...rest] = error.split("\n");
  const place = first.startsWith(file) ? first.slice(file.length) : first.replace(/^[^\s:]+\.(toml|js)(?=:)/, "");
  const [, line, column, text] = /^:(\d+):(\d+):\s*(.*)$/.exec(place) ?? [];
  if (line === undefined) return { line: null, column: null, text: first, excerpt: rest.join("\n") };
  return { line: Number(line), column: Number(column), text: text ?? "", excerpt: rest.join("\n") };
}

/** What the file says of its source: `payload = "json"`, `topic = "…"`. Nothing when it does not, or is not shown. */
export function sourceOf(text: string | null | undefined): { payload: string | null; topic: string | null } {
  const [, section = ""] = /^\[source\.\w+\]\s*$([\s\S]*?)(?=^\[|$(?![\s\S]))/m.exec(text ?? "") ?? [];
  const value = (key: string): string | null => new RegExp(`^\\s*${key}\\s*=\\s*["']([^"'\\n]*)["']`, "m").exec(section)?.[1] ?? null;
  return { payload: value("payload") ?? value("codec"), topic: value("topic") };
}
