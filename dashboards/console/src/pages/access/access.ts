/** What the page of sessions, tokens, walls and keys knows. Pure. */

import type { Schemas } from "../../api/hub";

/** The browser and the system that a `User-Agent` tells of; nothing where it tells nothing that people know. */
export function deviceOf(agent: string): { browser: string; system: string } | null {
  const find = (names: readonly (readonly [RegExp, string])[]): string => names.find(([pattern]) => pattern.test(agent))?.[1] ?? "";
  // The order matters: most browsers also call themselves by the names of others.
  const browser = find([
    [/MicroMessenger/, "微信"],
    [/HarmonyOS|ArkWeb|HuaweiBrowser/, "Huawei Browser"],
    [/Edg(A|iOS)?\//, "Edge"],
    [/QQBrowser/, "QQ Browser"],
    [/Firefox\/|FxiOS/, "Firefox"],
    [/HeadlessChrome/, "Chrome (headless)"],
    [/Chrom(e|ium)\/|CriOS/, "Chrome"],
    [/Safari\//, "Safari"],
    [/^curl\//, "curl"],
    [/^python|^Python/, "Python"],
  ]);
  const system = find([
    [/HarmonyOS|OpenHarmony/, "HarmonyOS"],
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Windows/, "Windows"],
    [/Mac OS X|Macintosh/, "macOS"],
    [/CrOS/, "ChromeOS"],
    [/Linux|X11/, "Linux"],
  ]);
  return browser === "" && system === "" ? null : { browser, system };
}

const WALL = "wall: ";

/** The screen's name, where a token is a wall screen's. */
export function wallName(label: string): string | null {
  return label.startsWith(WALL) ? label.slice(WALL.length) : null;
}

/** Whether a token that is limited to looking and named so is a wall screen's. */
export function isWall(token: Schemas["TokenInfo"]): boolean {
  return wallName(token.label) !== null && token.scope?.length === 1 && token.scope[0] === "view";
}

export type KeyState = "open" | "used_up" | "over" | "revoked";

export function keyState(key: Schemas["Enrolment"], nowMs: number): KeyState {
  if (key.revoked_at !== null) return "revoked";
  if (Date.parse(key.expires_at) <= nowMs) return "over";
  return key.used >= key.max_devices ? "used_up" : "open";
}

/** A whole number between two bounds, or nothing. */
export function wholeNumber(text: string | number | null | undefined, low: number, high: number): number | null {
  if (!/^\d+$/.test(String(text ?? "").trim())) return null;
  const number = Number(text);
  return number >= low && number <= high ? number : null;
}

/** How many are shown before somebody asks for all of them. */
export const SHOWN_FIRST = 50;
