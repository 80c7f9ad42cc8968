/** What the help says. Loaded with them; `zh` is the source of the keys. */

import { dictionary } from "../fill";

const zh = {
  "help.x": "多选:选中 / 取消所选告警",
  "help.X": "多选:全选所列告警",
  "help.s": "搁置所选告警",
  "help.g": "闸门控制",
  "help.title": "帮助与快捷键",
  "help.intro": "平时为灰色,有颜色处即有异常。实心是待确认,空心是已确认;斜纹是数据过期。",
  "help.n": "下一条待确认告警 / 待我办案卷",
  "help.jk": "下一条 / 上一条",
  "help.a": "所选项的下一步:确认、派遣、接单…",
  "help.c": "告警 / 案卷",
  "help.w": "超时大屏",
  "help.slash": "搜索",
  "help.1234": "按级别筛选",
  "help.m": "声音开 / 关",
  "help.l": "中文 / English",
  "help.esc": "关闭、清除",
  "help.question": "本帮助",
  "help.inputs": "在输入框内快捷键不起作用。",
} as const;

const en: Record<keyof typeof zh, string> = {
  "help.x": "Select or unselect the chosen alert",
  "help.X": "Select all alerts shown",
  "help.s": "Shelve the chosen alert",
  "help.g": "Move the gate",
  "help.title": "Help and keys",
  "help.intro": "Grey is normal; colour is not. Solid is unacknowledged, hollow acknowledged; hatched is out of date.",
  "help.n": "Next unacknowledged alert / my turn",
  "help.jk": "Next / previous",
  "help.a": "The next step of what is chosen",
  "help.c": "Alerts / cases",
  "help.w": "Wall of overdue cases",
  "help.slash": "Search",
  "help.1234": "Filter by severity",
  "help.m": "Sound on / off",
  "help.l": "English / 中文",
  "help.esc": "Close, clear",
  "help.question": "This help",
  "help.inputs": "Keys are off inside input fields.",
};

export type HelpWord = keyof typeof zh;
export const helpWords = dictionary({ zh, en });
