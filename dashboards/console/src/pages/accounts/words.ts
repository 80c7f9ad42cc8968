/** What accounts are made of, in words: roles, rights, refusals, and what the dialogs of these pages share. */

import type { ApiError } from "../../api/client";
import type { Schemas } from "../../api/hub";
import { dictionary } from "../../fill";
import { errorText, type Language } from "../../i18n";
import { reasonText } from "./reasons";

const zh = {
  "role.viewer": "查看员",
  "role.operator": "值班员",
  "role.dispatcher": "派遣员",
  "role.handler": "处置员",
  "role.supervisor": "监督员",
  "role.engineer": "工程师",
  "role.admin": "管理员",
  "role.viewer.detail": "只看",
  "role.operator.detail": "监视、确认告警、操作闸门",
  "role.dispatcher.detail": "确认告警、向班组派遣案卷",
  "role.handler.detail": "现场接单、处理、反馈",
  "role.supervisor.detail": "核查结案、搁置告警、审计与报表",
  "role.engineer.detail": "设备、型号、规则、导入",
  "role.admin.detail": "账号与全部权限",
  "right.view": "查看",
  "right.acknowledge": "确认告警",
  "right.operate": "远程操作",
  "right.dispatch": "派遣",
  "right.handle": "处理",
  "right.verify": "核查",
  "right.supervise": "监督",
  "right.engineer": "工程",
  "right.administer": "账号管理",
  whole: "全镇",
  zones: "片区",
  "zones.some": "只限所选片区",
  "zones.none": "还没有片区:先在「片区」页导入。",
  "zones.failed": "读不到片区",
  copy: "复制",
  copied: "已复制",
  "copy.failed": "浏览器不允许复制:请手工选中",
  once: "只显示这一次。关闭后任何人都看不到它,只能重新生成。",
  kept: "已保存,关闭",
  cancel: "取消",
  close: "关闭",
  busy: "正在提交……",
  "error.last_admin": "至少要留一名全镇管理员:请先指定另一位。",
  "error.already_exists": "已有同名的一项。",
  "error.not_found": "已不存在:可能刚被他人删除。",
  "error.forbidden": "您的角色或片区不允许这样做。",
  "error.version_conflict": "刚刚被他人改动:请核对最新内容后再提交。",
  "error.uncertain": "没有收到主机的答复,不知道是否已办到:请核对列表后再决定是否重试。",
  "error.bad_query": "查询条件有误:{why}",
  "error.bad_body": "主机不接受:{why}",
  "error.too_large": "文件超过主机的上限",
} as const;

type Word = keyof typeof zh;

const en: Record<Word, string> = {
  "role.viewer": "Viewer",
  "role.operator": "Operator",
  "role.dispatcher": "Dispatcher",
  "role.handler": "Handler",
  "role.supervisor": "Supervisor",
  "role.engineer": "Engineer",
  "role.admin": "Administrator",
  "role.viewer.detail": "looks only",
  "role.operator.detail": "watches, acknowledges alerts, moves gates",
  "role.dispatcher.detail": "acknowledges alerts, sends cases to crews",
  "role.handler.detail": "accepts, handles and reports in the field",
  "role.supervisor.detail": "verifies and closes, shelves alerts, audit and reports",
  "role.engineer.detail": "devices, profiles, rules, imports",
  "role.admin.detail": "accounts, and every right",
  "right.view": "View",
  "right.acknowledge": "Acknowledge",
  "right.operate": "Operate",
  "right.dispatch": "Dispatch",
  "right.handle": "Handle",
  "right.verify": "Verify",
  "right.supervise": "Supervise",
  "right.engineer": "Engineer",
  "right.administer": "Administer",
  whole: "Whole town",
  zones: "Zones",
  "zones.some": "Chosen zones only",
  "zones.none": "There are no zones yet: import them on the page “Zones”.",
  "zones.failed": "The zones could not be read",
  copy: "Copy",
  copied: "Copied",
  "copy.failed": "The browser does not allow copying: please select it by hand",
  once: "Shown this once. Nobody can see it after this is closed; a new one can be made.",
  kept: "I have kept it, close",
  cancel: "Cancel",
  close: "Close",
  busy: "Sending …",
  "error.last_admin": "One administrator of the whole town must remain: appoint another one first.",
  "error.already_exists": "There is one of this name already.",
  "error.not_found": "It is no longer there: somebody may just have deleted it.",
  "error.forbidden": "Your role or your zones do not allow this.",
  "error.version_conflict": "Somebody has just changed it: look at what it is now, then try again.",
  "error.uncertain": "The hub did not answer, so it is not known whether it was done: look at the list before you try again.",
  "error.bad_query": "The question is wrong: {why}",
  "error.bad_body": "The hub does not accept this: {why}",
  "error.too_large": "The file is larger than the hub takes",
};

export const accountWords = dictionary({ zh, en });

export const ROLES = ["viewer", "operator", "dispatcher", "handler", "supervisor", "engineer", "admin"] as const satisfies Schemas["Role"][];

/** Why the hub did not do it, in words. */
export function refusalText(language: Language, error: ApiError): string {
  const say = accountWords(language);
  if (error.isUncertain) return say("error.uncertain");
  const errors = Array.isArray(error.members["errors"]) ? error.members["errors"].map(String) : [];
  // What comes before the hub's own sentence is the thing that the dialog names already.
  const why = errors.length > 0 ? errors : error.message === "" ? [] : [error.message];
  const spoken = why.map((one) => reasonText(language, one)).join(language === "zh" ? ";" : "; ");
  if (error.code === "bad_body" || error.code === "bad_query") return say(`error.${error.code}`, { why: spoken });
  const word = `error.${error.code}`;
  return word in zh ? say(word as Word) : errorText(language, error.code);
}
