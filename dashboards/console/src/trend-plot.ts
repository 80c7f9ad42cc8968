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
}

const DAY_S = 86_400;
const dayOf = new Intl.DateTimeFormat("sv-SE", { month: "2-digit", day: "2-digit" });

/** Hours of a day; over several days each midnight is told by its date. */
function tickTexts(ticks: readonly number[]): string[] {
  const isLong = (ticks.at(-1) ?? 0) - (ticks[0] ?? 0) > DAY_S;
  return ticks.map((at) => {
    const time = clockText(at * 1000).slice(0, 5);
    return isLong && time === "00:00" ? dayOf.format(at * 1000) : time;
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
      scales: { y: { range: (_, min, max) => yRange(picture, min, max) } },
      axes: [
        { ...axis, size: 24, space: 60, values: (_, ticks) => tickTexts(ticks) },
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
