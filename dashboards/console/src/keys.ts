/** The keyboard: which key means what. No key executes a command on the plant. */

import type { Rank } from "./api/types";

export type Action =
  | { do: "next" }
  | { do: "step"; by: 1 | -1 }
  /** The one step that stands first. */
  | { do: "primary" }
  | { do: "cases" }
  | { do: "wall" }
  | { do: "pick" }
  | { do: "pick-all" }
  | { do: "shelve" }
  | { do: "gate" }
  | { do: "search" }
  | { do: "filter"; rank: Rank }
  | { do: "sound" }
  | { do: "language" }
  | { do: "escape" }
  | { do: "help" };

const KEYS: Record<string, Action> = {
  n: { do: "next" },
  j: { do: "step", by: 1 },
  k: { do: "step", by: -1 },
  a: { do: "primary" },
  c: { do: "cases" },
  w: { do: "wall" },
  x: { do: "pick" },
  X: { do: "pick-all" },
  s: { do: "shelve" },
  g: { do: "gate" },
  "/": { do: "search" },
  "1": { do: "filter", rank: 1 },
  "2": { do: "filter", rank: 2 },
  "3": { do: "filter", rank: 3 },
  "4": { do: "filter", rank: 4 },
  m: { do: "sound" },
  l: { do: "language" },
  "?": { do: "help" },
  Escape: { do: "escape" },
};

/** The part of a key press that decides. */
export interface Press {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  isComposing: boolean;
}

/** What a press means. Inside an input only Escape means anything, and a browser's own shortcuts stay its own. */
export function actionOf(press: Press, inInput: boolean): Action | null {
  if (press.ctrlKey || press.metaKey || press.altKey || press.isComposing) return null;
  const action = KEYS[press.key] ?? KEYS[press.key.length === 1 ? press.key.toLowerCase() : press.key] ?? null;
  return inInput && action?.do !== "escape" ? null : action;
}
