/** Commands to devices: which there are, what a target may be, how one goes on. Pure. */

import type { Command, CommandSpec } from "../api/types";

/** How long the button is held before an order goes out, milliseconds. */
export const HOLD_MS = 1_500;

/** Whether nothing more happens to a command. */
export function isOver({ state }: Command): boolean {
  return !["selected", "confirmed", "executing"].includes(state);
}

/** The commands with a target or without one that go two steps; an emergency command has its own button. */
export function ordinary(specs: readonly CommandSpec[]): CommandSpec[] {
  return specs.filter(({ emergency }) => !emergency);
}

export function hasStop(specs: readonly CommandSpec[]): boolean {
  return specs.some(({ emergency }) => emergency);
}

export type TargetFault = "empty" | "range" | "step" | "change" | "same";

/** What is wrong with a target; the hub checks it again, and knows more. */
export function targetFault(target: number | null, present: number | null, arg: NonNullable<CommandSpec["arg"]>): TargetFault | null {
  if (target === null || Number.isNaN(target)) return "empty";
  const [low, high] = arg.range;
  if (target < low || target > high) return "range";
  if (arg.step !== null && Math.abs(Math.round(target / arg.step) * arg.step - target) > arg.step * 1e-6) return "step";
  if (present !== null && target === present) return "same";
  if (present !== null && arg.max_change !== null && Math.abs(target - present) > arg.max_change * (1 + 1e-9)) return "change";
  return null;
}

/** Where an order stands on its way, in order: what is behind, what is now. */
export const ORDER_STEPS = ["selected", "sent", "echo", "moving", "reached"] as const;
export type OrderStep = (typeof ORDER_STEPS)[number];

/** How far an order has come; the last step is only the point's own word. */
export function orderStep(command: Command): OrderStep {
  if (command.state === "reached") return "reached";
  if (command.state === "selected" || command.state === "confirmed") return "selected";
  if (command.step === "moving") return "moving";
  if (command.step === "echo" || command.step === "in_doubt") return "echo";
  return command.sent_at === null ? "selected" : "sent";
}

/** How much of the way is behind, 0 to 1; nothing while it cannot be told. */
export function progress(command: Command, value: number | null): number | null {
  const { present, target } = command;
  if (present === null || target === null || value === null || present === target) return null;
  return Math.min(1, Math.max(0, (value - present) / (target - present)));
}

/** Whether the text is the gate's own number; blanks and case do not matter. */
export function isNumberOf(text: string, asset: string): boolean {
  const plain = (one: string): string => one.replace(/\s+/g, "").toLowerCase();
  return plain(text) === plain(asset) && plain(asset) !== "";
}
