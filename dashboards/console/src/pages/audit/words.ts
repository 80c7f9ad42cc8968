import { dictionary } from "../../fill";

const zh = {
  title: "审计",
  lead: "谁在何时改动了什么,新的在前",
  actor: "操作者",
  "actor.hint": "用户名",
  "actor.hub": "系统",
  "actor.cli": "主机命令行",
  "actor.stranger": "未登录者",
  thing: "类别",
  "thing.any": "全部类别",
  subject: "对象",
  "subject.hint": "编号",
  from: "自",
  to: "至",
  find: "查询",
  clear: "清除",
  number: "序号",
  at: "时间",
  action: "操作",
  detail: "内容",
  "detail.show": "内容:第 {seq} 条",
  hash: "校验值",
  older: "更早",
  newest: "回到最新",
  none: "没有符合条件的记录",
  "none.all": "还没有记录",
  page: "第 {from} 至 {to} 条",
  "from.after": "起始时间晚于结束时间",
  export: "导出(JSONL)",
  chain: "校验链",
  "chain.head": "链首(序号:校验值)",
  "chain.how": "每条记录的校验值由上一条的校验值与本条内容算出:改动、删去或插入任何一条,其后便都对不上。请定期把链首抄存在主机之外;日后用它核对:",
  "chain.command": "在主机上运行",
  "chain.gap": "序号不连续:第 {after} 条之后缺少 {count} 条。请在主机上运行 townhub audit verify。",
  "chain.good": "本页 {count} 条序号连续。校验值由主机命令核对。",
} as const;

const en: Record<keyof typeof zh, string> = {
  title: "Audit",
  lead: "Who changed what, and when; newest first",
  actor: "Who",
  "actor.hint": "user name",
  "actor.hub": "the hub",
  "actor.cli": "command line",
  "actor.stranger": "not logged in",
  thing: "Kind",
  "thing.any": "Every kind",
  subject: "What",
  "subject.hint": "its id",
  from: "From",
  to: "Until",
  find: "Find",
  clear: "Clear",
  number: "No.",
  at: "When",
  action: "Action",
  detail: "Detail",
  "detail.show": "Detail of entry {seq}",
  hash: "Hash",
  older: "Older",
  newest: "Back to the newest",
  none: "No entry matches",
  "none.all": "No entries yet",
  page: "Entries {from} to {to}",
  "from.after": "It begins after it ends",
  export: "Export (JSONL)",
  chain: "Hash chain",
  "chain.head": "Head (number:hash)",
  "chain.how": "The hash of each entry covers the one before it: whatever is changed, taken out or put in no longer fits from there on. Note the head somewhere outside the hub from time to time; later it is compared by:",
  "chain.command": "On the hub",
  "chain.gap": "The numbers have a gap: after entry {after}, {count} are missing. Run townhub audit verify on the hub.",
  "chain.good": "The numbers of these {count} entries are without a gap. Hashes are checked by the hub's command.",
};

export const auditWords = dictionary({ zh, en });

/** Things and verbs of the log's actions: `user.add` is 「用户」「新建」. */
const THINGS: Record<string, readonly [string, string]> = {
  alert: ["告警", "Alert"],
  asset: ["设施", "Asset"],
  case: ["案卷", "Case"],
  command: ["远程操作", "Command"],
  device: ["设备", "Device"],
  enrolment: ["接入密钥", "Enrolment key"],
  login: ["登录", "Log-in"],
  maintenance: ["检修窗口", "Maintenance"],
  notification: ["通知", "Notification"],
  override: ["限值", "Limit"],
  profile: ["设备型号", "Profile"],
  rule: ["告警规则", "Rule"],
  schedule: ["时段", "Schedule"],
  service: ["服务账号", "Service account"],
  session: ["会话", "Session"],
  token: ["令牌", "Token"],
  unit: ["班组", "Unit"],
  user: ["用户", "User"],
  zone: ["片区", "Zone"],
};

const VERBS: Record<string, readonly [string, string]> = {
  accepted: ["接单", "accepted"],
  acknowledged: ["确认", "acknowledged"],
  add: ["新建", "added"],
  approve: ["批准", "approved"],
  attached: ["并入", "attached"],
  cancel: ["撤回", "cancelled"],
  change: ["修改", "changed"],
  close: ["退出", "closed"],
  closed: ["结案", "closed"],
  confirm: ["复核", "confirmed"],
  delete: ["删除", "deleted"],
  dispatched: ["派遣", "dispatched"],
  end: ["结束", "ended"],
  escalated: ["升级", "escalated"],
  handled: ["处理", "handled"],
  import: ["批量导入", "imported"],
  in_service: ["启用", "in service"],
  locked_out: ["锁定", "locked out"],
  open: ["登录", "opened"],
  opened: ["立案", "opened"],
  out_of_service: ["停用", "out of service"],
  overdue: ["超时", "overdue"],
  password: ["修改密码", "password changed"],
  plan: ["计划", "planned"],
  put: ["设定", "set"],
  refused: ["被拒", "refused"],
  reject: ["拒绝", "turned away"],
  rejected: ["核查不通过", "rejected"],
  reload: ["重新载入", "reloaded"],
  reopened: ["重新立案", "reopened"],
  reported: ["反馈", "reported"],
  reset: ["重置密码", "password reset"],
  retry: ["重发", "sent again"],
  returned: ["退回", "returned"],
  revoke: ["吊销", "revoked"],
  select: ["选定", "selected"],
  shelved: ["搁置", "shelved"],
  stop: ["急停", "stopped"],
  test: ["测试", "tested"],
  unshelved: ["恢复", "unshelved"],
  verified: ["核查通过", "verified"],
  wait: ["待批准", "waits"],
};

export const THING_NAMES = Object.keys(THINGS);

function spoken(words: Record<string, readonly [string, string]>, name: string, language: "zh" | "en"): string | undefined {
  return words[name]?.[language === "zh" ? 0 : 1];
}

export function thingText(language: "zh" | "en", thing: string): string {
  return spoken(THINGS, thing, language) ?? thing;
}

/** An action in words; one that is new to this page as it is. */
export function actionText(language: "zh" | "en", action: string): string {
  const [thing = "", verb = "", ...rest] = action.split(".");
  const [what, done] = [spoken(THINGS, thing, language), spoken(VERBS, verb, language)];
  if (what === undefined || done === undefined || rest.length > 0) return action;
  return language === "zh" ? `${what} · ${done}` : `${what} ${done}`;
}
