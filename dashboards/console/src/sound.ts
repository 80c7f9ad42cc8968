/** The alarm's voice: two tones for severity 1 every ten seconds until it is acknowledged, one tone when a 2 arrives. */

import { rings } from "./town/select";
import type { Town } from "./town/town";

/** How often an unacknowledged critical alert is heard again, milliseconds. */
export const REPEAT_MS = 10_000;

export type Call = "two" | "one" | null;

/** What has been heard so far; `heard` holds the severe alerts already announced. */
export interface Heard {
  major: ReadonlySet<number>;
  criticalAtMs: number;
}

/** What to sound now, and what has been heard then. Pure. */
export function nextCall(town: Town, heard: Heard, nowMs: number): { call: Call; heard: Heard } {
  const unacknowledged = [...town.alerts.values()].filter((alert) => alert.acknowledged_at === null && rings(alert));
  const major = new Set(unacknowledged.filter(({ severity }) => severity === "major").map(({ id }) => id));
  const isNew = [...major].some((id) => !heard.major.has(id));
  if (unacknowledged.some(({ severity }) => severity === "critical")) {
    const due = nowMs - heard.criticalAtMs >= REPEAT_MS;
    return { call: due ? "two" : null, heard: { major, criticalAtMs: due ? nowMs : heard.criticalAtMs } };
  }
  return { call: isNew ? "one" : null, heard: { major, criticalAtMs: Number.NEGATIVE_INFINITY } };
}

/** Plays calls. Browsers give sound only after the first click or key, so the context is made by the operator's toggle. */
export class Voice {
  private context: AudioContext | null = null;

  /** Call from a click or key. */
  wake(): void {
    this.context ??= new AudioContext();
    void this.context.resume();
  }

  play(call: Exclude<Call, null>): void {
    if (this.context?.state !== "running") return;
    this.tone(880, 0);
    if (call === "two") this.tone(660, 0.28);
  }

  private tone(hertz: number, delayS: number): void {
    const { context } = this;
    if (context === null) return;
    const start = context.currentTime + delayS;
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.frequency.value = hertz;
    gain.gain.setValueAtTime(0, start);
    gain.gain.linearRampToValueAtTime(0.2, start + 0.02);
    gain.gain.setTargetAtTime(0, start + 0.18, 0.03);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(start);
    oscillator.stop(start + 0.4);
  }
}
