/** What the pages beside the map are called, and the words that all of them share. */

import { dictionary } from "../fill";

const zh = {
  menu: "页面",
  back: "回到地图",
  "group.look": "查看",
  "group.set": "设置",
  "group.account": "账号",
  health: "运行状况",
  devices: "设备",
  device: "设备",
  reports: "报表",
  notifications: "通知",
  rules: "告警规则",
  profiles: "设备型号",
  import: "导入",
  connect: "接入设备",
  zones: "片区",
  users: "用户",
  access: "会话与令牌",
  audit: "审计",
  loading: "正在读取……",
  "failed.page": "这个页面没有读到:主机可能刚刚更新过。请重新打开。",
  reload: "重新打开",
  retry: "再试一次",
  copy: "复制",
  copied: "已复制",
  marked: "请按 Ctrl+C",
  forbidden: "您的角色没有这个页面的权限。",
} as const;

const en: Record<keyof typeof zh, string> = {
  menu: "Pages",
  back: "Back to the map",
  "group.look": "Look",
  "group.set": "Set up",
  "group.account": "Accounts",
  health: "Health",
  devices: "Devices",
  device: "Device",
  reports: "Reports",
  notifications: "Notifications",
  rules: "Alert rules",
  profiles: "Device profiles",
  import: "Import",
  connect: "Connect a device",
  zones: "Zones",
  users: "Users",
  access: "Sessions and tokens",
  audit: "Audit",
  loading: "Reading …",
  "failed.page": "This page could not be read: the hub may just have been updated. Please open it again.",
  reload: "Open again",
  retry: "Try again",
  copy: "Copy",
  copied: "Copied",
  marked: "Press Ctrl C",
  forbidden: "Your role may not open this page.",
};

export type PageWord = keyof typeof zh;
export const pageWords = dictionary({ zh, en });
