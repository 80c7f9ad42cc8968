/** Every word of the wallboard that the console does not have. `zh` is the source of the keys. */

import { fill } from "../fill";
import type { Language } from "../i18n";

const zh = {
  title: "{town} · 运行总览",
  online: "设备在线",
  "online.of": "{online} / {total}",
  alerts: "未了告警",
  "alerts.none": "没有未了告警",
  "alerts.none.detail": "全镇设施运行正常",
  cases: "超时案件",
  "cases.none": "没有超时案件",
  "cases.unknown": "暂时读不到案件",
  "cases.more": "超过 {count} 件",
  "case.number": "{id} 号案",
  "step.accept": "接单超时",
  "step.arrive": "到场超时",
  "step.fix": "处置超时",
  page: "第 {page} / {pages} 页",
  signed_out: "此屏未登录",
  "signed_out.detail": "请在值班电脑上打开 /wall/join,为此屏生成一次性链接。",
} as const;

export type WallWord = keyof typeof zh;

const en: Record<WallWord, string> = {
  title: "{town} · Overview",
  online: "Devices online",
  "online.of": "{online} of {total}",
  alerts: "Open alerts",
  "alerts.none": "No open alerts",
  "alerts.none.detail": "The whole town is running normally",
  cases: "Overdue cases",
  "cases.none": "No case is overdue",
  "cases.unknown": "The cases cannot be read now",
  "cases.more": "more than {count}",
  "case.number": "Case {id}",
  "step.accept": "not accepted",
  "step.arrive": "nobody on site",
  "step.fix": "not fixed",
  page: "Page {page} of {pages}",
  signed_out: "This screen is not signed in",
  "signed_out.detail": "Open /wall/join at the duty desk and make a one-time link for it.",
};

/** The words of a language. */
export function wallWords(language: Language): (word: WallWord, parameters?: Readonly<Record<string, string | number>>) => string {
  const words = language === "zh" ? zh : en;
  return (word, parameters) => fill(words[word], parameters);
}
