/** Every word of the page that lets a wall screen in. `zh` is the source of the keys. */

import { fill } from "../../fill";
import type { Language } from "../../i18n";

const zh = {
  "join.title": "把此屏设为大屏",
  "join.lead": "确认后,此浏览器只能查看、不能操作,原有登录会被替换。链接只能用一次。",
  "join.do": "设为大屏",
  "join.gone": "链接已用过,或已超过 15 分钟。请在值班电脑上重新生成。",
  "make.title": "为大屏生成链接",
  "make.lead": "链接 15 分钟内有效,只能用一次,在大屏的浏览器里打开。大屏能看到您能看到的内容,但不能操作;可在令牌列表中随时停用。",
  "make.name": "大屏名称",
  "make.name.example": "值班室",
  "make.do": "生成链接",
  "make.done": "在大屏上打开(15 分钟内):",
  "make.login": "请先登录",
  failed: "主机没有答复,请再试一次。",
  refused: "主机不同意:{detail}",
} as const;

export type JoinWord = keyof typeof zh;

const en: Record<JoinWord, string> = {
  "join.title": "Make this screen a wallboard",
  "join.lead": "This browser can then look but not act; whoever is signed in here now is replaced. The link works once.",
  "join.do": "Make it a wallboard",
  "join.gone": "The link was used, or is older than 15 minutes. Make a new one at the duty desk.",
  "make.title": "A link for a wall screen",
  "make.lead":
    "It works once, for 15 minutes, in the wall's browser. The wall sees what you see and can do nothing; end it at any time in the list of tokens.",
  "make.name": "Name of the wall",
  "make.name.example": "Duty room",
  "make.do": "Make a link",
  "make.done": "Open this on the wall, within 15 minutes:",
  "make.login": "Sign in first",
  failed: "The hub did not answer. Try again.",
  refused: "The hub refuses: {detail}",
};

/** The words of a language. */
export function joinWords(language: Language): (word: JoinWord, parameters?: Readonly<Record<string, string>>) => string {
  const words = language === "zh" ? zh : en;
  return (word, parameters) => fill(words[word], parameters);
}
