/** The colours of tokens.css against WCAG 2.2 AA, in both themes. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const css = readFileSync(new URL("../../src/styles/tokens.css", import.meta.url), "utf8");

function theme(name: string): Record<string, string> {
  const block = new RegExp(`\\[data-theme="${name}"\\] \\{([^}]*)\\}`).exec(css)?.[1] ?? "";
  return Object.fromEntries([...block.matchAll(/--([\w-]+): (#\w{6});/g)].map((match) => [match[1], match[2]]));
}

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5]
    .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

const TEXT: [string, string][] = [
  ...["page", "surface", "surface-raised", "surface-sunken", "chosen"].flatMap((ground): [string, string][] => [
    ["ink", ground],
    ["ink-soft", ground],
  ]),
  ...["critical", "major", "minor", "info"].flatMap((name): [string, string][] => [
    [`${name}-ink`, name],
    [`${name}-text`, "surface"],
    [`${name}-text`, "surface-raised"],
  ]),
  ["primary-ink", "primary"],
  ["stale-ink", "stale-a"],
  ["map-label", "map-halo"],
  ["map-water-label", "map-halo"],
  ["map-text", "map-halo"],
];

/** A shape is told from its ground by its fill or, where that is pale, by its outline. */
const SHAPES = ["critical", "major", "minor", "info"].flatMap((name) =>
  ["surface", "surface-raised", "chosen", "map-land"].map((ground): [string, string] => [name, ground]),
);

describe.each(["light", "dark"])("%s", (name) => {
  const colours = theme(name);
  const of = (token: string): string => colours[token] ?? expect.fail(`no token --${token}`);

  test.each(TEXT)("text %s on %s", (text, ground) => {
    expect(contrast(of(text), of(ground))).toBeGreaterThanOrEqual(4.5);
  });

  test.each(SHAPES)("shape %s on %s", (shape, ground) => {
    const best = Math.max(contrast(of(shape), of(ground)), contrast(of("outline"), of(ground)));
    expect(best).toBeGreaterThanOrEqual(3);
  });

  test("the focus ring is seen", () => {
    expect(contrast(of("focus"), of("surface"))).toBeGreaterThanOrEqual(3);
  });
});
