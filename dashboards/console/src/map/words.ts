/** The map's own words, which come with the map. As in `i18n.ts`: `zh` is the source of the keys. */

import { fill } from "../fill";
import type { Language } from "../i18n";

const zh = {
  "filter.open": "图层与分区",
  "filter.kinds": "设施类型",
  "filter.zones": "分区",
  "filter.all": "全部显示",
  "past.open": "历史回放",
  "past.title": "历史 HISTORY",
  "past.rule": "正在回放过去,不能下令、不能确认",
  "past.leave": "回到现在",
  "past.span.day": "24 小时",
  "past.span.week": "7 天",
  "past.span": "回放范围",
  "past.time": "回放时刻",
  "past.play": "播放",
  "past.pause": "暂停",
  "past.back": "前一刻",
  "past.forth": "后一刻",
  "past.loading": "正在读取…",
  "past.failed": "读不到这一刻:{error}",
  "past.alerts": "当时未了的告警",
  "past.none": "当时没有未了告警",
  "past.acknowledged": "已确认",
  "past.raised": "待确认",
  "past.more": "另有 {count} 条",
  "past.hidden": "筛选隐去 {count} 条",
  "past.unknown": "当时没有读数",
  "past.observed": "测于 {time}",
  "place.cursor": "光标处坐标",
};

const en: Record<keyof typeof zh, string> = {
  "filter.open": "Layers and zones",
  "filter.kinds": "Kinds",
  "filter.zones": "Zones",
  "filter.all": "Show all",
  "past.open": "Playback",
  "past.title": "HISTORY",
  "past.rule": "The past is shown: no commands, no acknowledging",
  "past.leave": "Back to now",
  "past.span.day": "24 hours",
  "past.span.week": "7 days",
  "past.span": "How far back",
  "past.time": "Moment shown",
  "past.play": "Play",
  "past.pause": "Pause",
  "past.back": "One step back",
  "past.forth": "One step on",
  "past.loading": "Reading…",
  "past.failed": "This moment cannot be read: {error}",
  "past.alerts": "Alerts that stood open",
  "past.none": "No alert stood open",
  "past.acknowledged": "Acknowledged",
  "past.raised": "Unacknowledged",
  "past.more": "{count} more",
  "past.hidden": "{count} hidden by the filter",
  "past.unknown": "No reading at that time",
  "past.observed": "Measured {time}",
  "place.cursor": "Coordinates under the pointer",
};

export type MapWord = keyof typeof zh;

/** A word of the map with its parameters. */
export function mapWord(language: Language, key: MapWord, parameters: Record<string, string | number> = {}): string {
  return fill((language === "zh" ? zh : en)[key], parameters);
}
