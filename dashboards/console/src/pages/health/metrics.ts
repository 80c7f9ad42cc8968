/** The hub's own figures in Prometheus' text form, as far as pages read them. Pure but for `readMetrics`. */

export interface Figure {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Reads the text form; what is no figure is skipped. */
export function parseMetrics(text: string): Figure[] {
  return text.split("\n").flatMap((line) => {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/i.exec(line);
    const value = Number(found?.[3]);
    if (found === null || !Number.isFinite(value)) return [];
    const labels = [...(found[2] ?? "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi)].map(([, key, said]) => [key, said] as const);
    return [{ name: found[1] ?? "", labels: Object.fromEntries(labels), value }];
  });
}

/** The figures of one name by a label. */
export function byLabel(figures: readonly Figure[], name: string, label: string): Map<string, number> {
  const mine = figures.filter((figure) => figure.name === name);
  return new Map(mine.map(({ labels, value }) => [labels[label] ?? "", value]));
}

/** What has grown since, by label. */
export function grown(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): [string, number][] {
  return [...after].map(([key, value]): [string, number] => [key, value - (before.get(key) ?? 0)]).filter(([, by]) => by > 0);
}

/** Asks the hub; nothing when it does not tell us. */
export async function readMetrics(): Promise<Figure[]> {
  try {
    const response = await fetch("/metrics", { credentials: "same-origin", signal: AbortSignal.timeout(10_000) });
    return response.ok ? parseMetrics(await response.text()) : [];
  } catch {
    return [];
  }
}
