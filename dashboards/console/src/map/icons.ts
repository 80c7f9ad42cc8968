/** The map's symbols, drawn on a canvas: no sprite file, sharp on every screen, in the theme's colours. */

import type { Rank } from "../api/types";
import { RANKS, SEVERITY } from "../town/select";
import type { Palette } from "./palette";
import { SHAPES, SHAPE_TEXT_Y } from "./shapes";

/** Symbols are drawn at twice their size, for dense screens. */
export const PIXEL_RATIO = 2;

type Draw = (ctx: CanvasRenderingContext2D, palette: Palette) => void;

/** Quiet symbols of assets on a grid of 24. */
const ASSETS: Record<string, Draw> = {
  // A leaf between two posts.
  "sluice-gate": (ctx, palette) => {
    plate(ctx, palette);
    ctx.stroke(new Path2D("M7.5 6.5V17.5M16.5 6.5V17.5M7.5 9H16.5"));
    ctx.fillStyle = palette["map-asset"];
    ctx.fillRect(9.5, 11.5, 5, 5);
  },
  // A staff with its marks over water.
  "canal-gauge": (ctx, palette) => {
    plate(ctx, palette);
    ctx.stroke(new Path2D("M12 6V15M12 8H15M12 11H15M6.5 16.5C8.5 15 9.5 18 12 16.5S15.5 18 17.5 16.5"));
  },
  // A drop.
  "rain-gauge": (ctx, palette) => {
    plate(ctx, palette);
    ctx.stroke(new Path2D("M12 6.5C14.5 9.7 16 11.6 16 13.6A4 4 0 0 1 8 13.6C8 11.6 9.5 9.7 12 6.5Z"));
  },
  "parking-lot": (ctx, palette) => {
    ctx.beginPath();
    ctx.roundRect(3, 3, 18, 18, 4);
    ctx.fillStyle = palette["map-asset"];
    ctx.fill();
    ctx.fillStyle = palette["map-asset-fill"];
    ctx.font = "700 14px sans-serif";
    ctx.textAlign = "center";
    ctx.fillText("P", 12, 17);
  },
};

function plate(ctx: CanvasRenderingContext2D, palette: Palette): void {
  ctx.beginPath();
  ctx.roundRect(3, 3, 18, 18, 4);
  ctx.fillStyle = palette["map-asset-fill"];
  ctx.strokeStyle = palette["map-asset"];
  ctx.lineWidth = 1.25;
  ctx.fill();
  ctx.stroke();
  ctx.lineWidth = 1.5;
  ctx.lineCap = "round";
}

/** Every symbol of the map by its name. */
export function drawIcons(palette: Palette): Map<string, ImageData> {
  const icons = new Map<string, ImageData>();
  for (const [name, draw] of Object.entries(ASSETS)) icons.set(name, onCanvas(24, (ctx) => draw(ctx, palette)));
  for (const rank of RANKS) {
    icons.set(severityIcon(rank, false), onCanvas(28, (ctx) => drawSeverity(ctx, palette, rank, false)));
    icons.set(severityIcon(rank, true), onCanvas(28, (ctx) => drawSeverity(ctx, palette, rank, true)));
  }
  icons.set("flow", onCanvas(12, (ctx) => drawFlow(ctx, palette)));
  icons.set("stale", onCanvas(24, (ctx) => drawHatch(ctx, palette)));
  return icons;
}

/** The name of a severity's symbol. */
export function severityIcon(rank: Rank, hollow: boolean): string {
  return `severity-${rank}-${hollow ? "hollow" : "solid"}`;
}

function drawSeverity(ctx: CanvasRenderingContext2D, palette: Palette, rank: Rank, hollow: boolean): void {
  const name = SEVERITY[rank];
  const shape = new Path2D(SHAPES[rank]);
  ctx.translate(2, 2);
  ctx.lineJoin = "round";
  // A rim in the land's colour parts the mark from whatever lies beneath.
  ctx.lineWidth = hollow ? 4 : 3.5;
  ctx.strokeStyle = palette["map-halo"];
  ctx.stroke(shape);
  ctx.fillStyle = hollow ? palette["surface-raised"] : palette[name];
  ctx.fill(shape);
  ctx.lineWidth = hollow ? 2.75 : 1;
  ctx.strokeStyle = hollow ? palette[name] : palette.outline;
  ctx.stroke(shape);
  ctx.fillStyle = hollow ? palette.ink : palette[`${name}-ink`];
  ctx.font = "700 12px sans-serif";
  ctx.textAlign = "center";
  ctx.fillText(String(rank), 12, SHAPE_TEXT_Y[rank] + 0.3);
}

/** An arrow head along the line, in the colour of the ground between the pipe's own. */
function drawFlow(ctx: CanvasRenderingContext2D, palette: Palette): void {
  const head = new Path2D("M4 2.5 8.5 6 4 9.5");
  ctx.lineCap = ctx.lineJoin = "round";
  ctx.strokeStyle = palette["map-halo"];
  ctx.lineWidth = 4;
  ctx.stroke(head);
  ctx.strokeStyle = palette["map-asset"];
  ctx.lineWidth = 1.75;
  ctx.stroke(head);
}

/** Oblique lines in a ring: what stands here is old. */
function drawHatch(ctx: CanvasRenderingContext2D, palette: Palette): void {
  ctx.beginPath();
  ctx.arc(12, 12, 9, 0, 2 * Math.PI);
  ctx.fillStyle = palette["map-land"];
  ctx.globalAlpha = 0.75;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.strokeStyle = palette["map-asset"];
  ctx.lineWidth = 1.25;
  ctx.stroke();
  ctx.clip();
  ctx.beginPath();
  for (let x = -12; x < 24; x += 4.5) {
    ctx.moveTo(x, 24);
    ctx.lineTo(x + 24, 0);
  }
  ctx.stroke();
}

function onCanvas(size: number, draw: (ctx: CanvasRenderingContext2D) => void): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size * PIXEL_RATIO;
  const ctx = canvas.getContext("2d", { willReadFrequently: true });
  if (ctx === null) return new ImageData(canvas.width, canvas.height);
  ctx.scale(PIXEL_RATIO, PIXEL_RATIO);
  draw(ctx);
  return ctx.getImageData(0, 0, canvas.width, canvas.height);
}
