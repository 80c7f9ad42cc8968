/** What an asset is found by: its id, its names, its street, and the initials of their pinyin. */

import type { Asset } from "./town";

/** The first of each initial's characters in the order of pinyin; no word begins with i, u or v. */
const FIRSTS = "阿八嚓哒妸发旮哈讥咔垃妈拏噢妑七呥仨它穵夕丫帀";
const LETTERS = "abcdefghjklmnopqrstwxyz";
/** Characters with several readings of which the order takes the rarer one. */
const READ: Record<string, string> = { 泊: "b", 埔: "p", 长: "c", 茄: "q", 厦: "x", 曾: "z", 他: "t" };

let collator: Intl.Collator | null = null;
const known = new Map<string, string>();

/** A text's initials: 西栅大街 is xzdj. The browser's own order of Chinese serves as the table; letters and digits stay. */
export function initials(text: string): string {
  let all = "";
  for (const character of text.toLowerCase()) {
    if (/[a-z0-9]/.test(character)) all += character;
    else if (/\p{Script=Han}/u.test(character)) all += initial(character);
  }
  return all;
}

function initial(character: string): string {
  const before = known.get(character);
  if (before !== undefined) return before;
  collator ??= new Intl.Collator("zh-Hans-CN-u-co-pinyin");
  let at = READ[character] === undefined ? FIRSTS.length - 1 : -1;
  while (at >= 0 && collator.compare(character, FIRSTS[at] ?? "") < 0) at -= 1;
  const found = READ[character] ?? LETTERS[at] ?? "";
  known.set(character, found);
  return found;
}

const texts = new WeakMap<Asset, string[]>();

/** Worked out once per asset: a key press searches 50 000 of them. */
export function searchTexts(asset: Asset): string[] {
  let found = texts.get(asset);
  if (found === undefined) {
    const { id, name, street } = asset;
    found = [id, name.zh, name.en, initials(name.zh), ...(street === null ? [] : [street, initials(street)])];
    texts.set(asset, found);
  }
  return found;
}
