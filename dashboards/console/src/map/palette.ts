/** The map's colours, read from the page's tokens, so that there is one place for colours. */

const NAMES = [
  "map-land",
  "map-built",
  "map-scenic",
  "map-scenic-line",
  "map-water",
  "map-road",
  "map-road-case",
  "map-label",
  "map-water-label",
  "map-halo",
  "map-asset",
  "map-asset-fill",
  "map-pipe",
  "map-text",
  "critical",
  "critical-ink",
  "major",
  "major-ink",
  "minor",
  "minor-ink",
  "info",
  "info-ink",
  "outline",
  "surface-raised",
  "ink",
  "line-strong",
] as const;

export type Palette = Record<(typeof NAMES)[number], string>;

/** The colours of the theme that is on now. */
export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Palette;
}
