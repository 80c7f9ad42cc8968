/** Every word of the public parking page, in both languages. `zh` is the source of the keys. */

import { fill } from "../../fill";
import type { Language } from "../../i18n";

const zh = {
  title: "停车场余位",
  "title.town": "{town}停车",
  language: "EN",
  "language.detail": "Switch to English",
  "near.ask": "按距离排序",
  "near.on": "已按距离排序",
  "near.waiting": "正在定位…",
  "near.denied": "未获得位置,按名称排序",
  loading: "正在读取…",
  live: "{age}更新",
  stale: "已有 {age} 未能更新。下面是之前的情况,请以现场为准;正在自动重试。",
  never: "暂时读不到车位,正在自动重试。",
  none: "还没有停车场。",
  free: "空位",
  "free.range": "{least} 至 {most} 个空位",
  "free.exact": "{count} 个空位",
  total: "共 {count} 位",
  unknown: "{count} 位不明",
  closed_bays: "{count} 位关闭",
  "occupation.open": "有空位",
  "occupation.nearly_full": "将满",
  "occupation.full": "已满",
  "occupation.closed": "关闭",
  "occupation.unknown": "暂无数据",
  "trend.filling": "车辆渐多",
  "trend.steady": "平稳",
  "trend.emptying": "车辆渐少",
  observed: "数据 {age}",
  go: "导航",
  "go.to": "导航到{lot}",
  "go.amap": "高德地图",
  "go.baidu": "百度地图",
  "go.device": "手机地图",
  left_out: "另有 {count} 个停车场未列出。",
  footer: "余位来自车位检测器,仅供参考。位置只在本机用于排序,不会发送。",
  "age.now": "刚刚",
  "age.s": "{n} 秒前",
  "age.min": "{n} 分钟前",
  "age.h": "{n} 小时前",
  "age.d": "{n} 天前",
  "for.s": "{n} 秒",
  "for.min": "{n} 分钟",
  "for.h": "{n} 小时",
  "for.d": "{n} 天",
  m: "{n} 米",
  km: "{n} 公里",
} as const;

export type ParkingWord = keyof typeof zh;

const en: Record<ParkingWord, string> = {
  title: "Free parking",
  "title.town": "Parking in {town}",
  language: "中文",
  "language.detail": "切换到中文",
  "near.ask": "Sort by distance",
  "near.on": "Nearest first",
  "near.waiting": "Finding you…",
  "near.denied": "No position: sorted by name",
  loading: "Reading…",
  live: "Updated {age}",
  stale: "No update for {age}. This is how it was before: trust the signs on site. Trying again by itself.",
  never: "The bays cannot be read now; trying again by itself.",
  none: "There is no car park yet.",
  free: "free",
  "free.range": "{least} to {most} free bays",
  "free.exact": "{count} free bays",
  total: "{count} bays",
  unknown: "{count} unknown",
  closed_bays: "{count} closed",
  "occupation.open": "Free bays",
  "occupation.nearly_full": "Nearly full",
  "occupation.full": "Full",
  "occupation.closed": "Closed",
  "occupation.unknown": "No data",
  "trend.filling": "filling up",
  "trend.steady": "steady",
  "trend.emptying": "emptying",
  observed: "data {age}",
  go: "Navigate",
  "go.to": "Navigate to {lot}",
  "go.amap": "Amap",
  "go.baidu": "Baidu",
  "go.device": "This phone",
  left_out: "{count} more car parks are not listed.",
  footer: "Free bays as the bay sensors see them; no guarantee. Your position sorts the list on this device and is not sent.",
  "age.now": "just now",
  "age.s": "{n} s ago",
  "age.min": "{n} min ago",
  "age.h": "{n} h ago",
  "age.d": "{n} d ago",
  "for.s": "{n} s",
  "for.min": "{n} min",
  "for.h": "{n} h",
  "for.d": "{n} d",
  m: "{n} m",
  km: "{n} km",
};

export type Say = (word: ParkingWord, parameters?: Readonly<Record<string, string | number>>) => string;

/** The words of a language. */
export function say(language: Language): Say {
  const words = language === "zh" ? zh : en;
  return (word, parameters) => fill(words[word], parameters);
}

/** A length of time in its largest unit, as an age ("3 min ago") or as a duration ("3 min"). */
export function timeText(ms: number, language: Language, as: "age" | "for"): string {
  const t = say(language);
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (as === "age" && seconds < 5) return t("age.now");
  if (seconds < 60) return t(`${as}.s`, { n: seconds });
  if (seconds < 3_600) return t(`${as}.min`, { n: Math.floor(seconds / 60) });
  if (seconds < 86_400) return t(`${as}.h`, { n: Math.floor(seconds / 3_600) });
  return t(`${as}.d`, { n: Math.floor(seconds / 86_400) });
}

/** A way in metres, as coarse as it is worth to a driver. */
export function wayText(m: number, language: Language): string {
  const t = say(language);
  if (m < 950) return t("m", { n: Math.max(10, Math.round(m / 10) * 10) });
  return t("km", { n: (m / 1_000).toFixed(m < 9_500 ? 1 : 0) });
}
