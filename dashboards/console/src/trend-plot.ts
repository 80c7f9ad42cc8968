/** The chart of one point: a thin coat over uPlot that takes its colours from the page's tokens. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { SeverityName } from "./api/types";
import { clockText } from "./format";
import type { Trend } from "./town/trend";

export interface Picture {
  trend: Trend;
  /** Holds a value until the next, for states. */
  stepped: boolean;
  states: { code: number; text: string }[];
  /** A faint one is for comparison. */
  limits: { at: number; severity: SeverityName; faint?: boolean }[];
  /** From when to when the axis goes, seconds since 1970; the values' own span else. */
  span?: [number, number];
  /** Stretches whose readings were not all good: hatched. */
  doubts?: { from: number; to: number }[];
  /** When alerts stood: bars along the top. */
  alerts?: { from: number; to: number; severity: SeverityName }[];
}

const DAY_S = 86_400;
const dayOf = new Intl.DateTimeFormat("sv-SE", { month: "2-digit", day: "2-digit" });

/** Hours of a day; over longer spans each midnight is told by its date, and over many days nothing but the dates. */
function tickTexts(ticks: readonly number[], span: readonly [number, number] | undefined): string[] {
  const longS = span === undefined ? (ticks.at(-1) ?? 0) - (ticks[0] ?? 0) : span[1] - span[0];
  return ticks.map((at) => {
    const time = clockText(at * 1000).slice(0, 5);
    if (longS <= 1.5 * DAY_S) return time;
    if (time === "00:00") return dayOf.format(at * 1000);
    return longS > 10 * DAY_S ? "" : time;
  });
}

const FONT = "11px system-ui, sans-serif";

export class TrendPlot {
  private plot: uPlot | null = null;
  private readonly observer: ResizeObserver;

  constructor(private readonly host: HTMLElement) {
    this.observer = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.observer.observe(host);
  }

  /** Draws from anew: a chart of 300 points costs a millisecond, and its axes depend on everything. */
  draw(picture: Picture): void {
    this.clear();
    const data: uPlot.AlignedData = [picture.trend.times, picture.trend.values];
    this.plot = new uPlot(this.options(picture), data, this.host);
  }

  clear(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  destroy(): void {
    this.observer.disconnect();
    this.clear();
  }

  private size(): { width: number; height: number } {
    return { width: this.host.clientWidth, height: this.host.clientHeight };
  }

  private options(picture: Picture): uPlot.Options {
    const style = getComputedStyle(this.host);
    const token = (name: string): string => style.getPropertyValue(name).trim();
    const grid = { stroke: token("--line-soft"), width: 1 };
    const axis = { stroke: token("--ink-soft"), font: FONT, grid, ticks: { ...grid, size: 4 } };
    const isState = picture.states.length > 0;
    const stepped = picture.stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    return {
      ...this.size(),
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { ...(picture.span === undefined ? {} : { x: { range: picture.span } }), y: { range: (_, min, max) => yRange(picture, min, max) } },
      axes: [
        { ...axis, size: 24, space: 60, values: (_, ticks) => tickTexts(ticks, picture.span) },
        isState
          ? { ...axis, size: 64, splits: () => picture.states.map(({ code }) => code), values: () => picture.states.map(({ text }) => text) }
          : { ...axis, size: 44, space: 28 },
      ],
      series: [
        {},
        {
          stroke: token("--ink"),
          width: 1.5,
          spanGaps: false,
          points: { show: false },
          ...(stepped ? { paths: stepped } : {}),
        },
      ],
      hooks: {
        draw: [
          (plot) => {
            for (const { at, severity, faint } of picture.limits) drawLimit(plot, at, token(`--${severity}-text`), faint ?? false);
            for (const { from, to } of picture.doubts ?? []) drawDoubt(plot, from, to, token("--line-strong"));
            for (const { from, to, severity } of picture.alerts ?? []) drawAlert(plot, from, to, token(`--${severity}`));
          },
        ],
      },
    };
  }
}

/** The values and the nearest limit beyond them belong into view; a limit far away would flatten the line. */
function yRange(picture: Picture, min: number, max: number): uPlot.Range.MinMax {
  if (picture.states.length > 0) {
    const codes = picture.states.map(({ code }) => code);
    return [Math.min(...codes) - 0.5, Math.max(...codes) + 0.5];
  }
  const span = Math.max(max - min, Math.abs(max) * 0.05, 0.01);
  const near = picture.limits.map(({ at }) => at).filter((at) => at > min - 2 * span && at < max + 2 * span);
  const low = Math.min(min, ...near);
  const high = Math.max(max, ...near);
  const margin = Math.max(high - low, span) * 0.08;
  return [low - margin, high + margin];
}

function stretchOf(plot: uPlot, from: number, to: number): { x: number; width: number } {
  const { left, width } = plot.bbox;
  const x = Math.max(left, plot.valToPos(from, "x", true));
  const end = Math.min(left + width, plot.valToPos(to, "x", true));
  return { x, width: Math.max(2 * devicePixelRatio, end - x) };
}

function drawDoubt(plot: uPlot, from: number, to: number, colour: string): void {
  const { x, width } = stretchOf(plot, from, to);
  const { top, height } = plot.bbox;
  const { ctx } = plot;
  const gap = 6 * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, top, width, height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  // On one grid, so that neighbours join.
  for (let at = Math.floor((x - height) / gap) * gap; at < x + width; at += gap) {
    ctx.moveTo(at, top + height);
    ctx.lineTo(at + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

function drawAlert(plot: uPlot, from: number, to: number, colour: string): void {
  const { x, width } = stretchOf(plot, from, to);
  const { ctx } = plot;
  ctx.save();
  ctx.fillStyle = colour;
  ctx.fillRect(x, plot.bbox.top, width, 5 * devicePixelRatio);
  ctx.restore();
}

function drawLimit(plot: uPlot, at: number, colour: string, isFaint: boolean): void {
  const y = plot.valToPos(at, "y", true);
  const { left, top, width, height } = plot.bbox;
  if (y < top || y > top + height) return;
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = (isFaint ? 1 : 1.5) * devicePixelRatio;
  ctx.setLineDash((isFaint ? [1.5, 3] : [6, 4]).map((length) => length * devicePixelRatio));
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.restore();
}
