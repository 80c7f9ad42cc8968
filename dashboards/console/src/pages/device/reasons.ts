/** The hub's words for what went wrong with a message or at the door, as people say them. */

import type { Language } from "../../i18n";

const UNDECODED: Record<string, { zh: string; en: string }> = {
  not_json: { zh: "不是 JSON", en: "not JSON" },
  wrong_type: { zh: "某项的类型不对", en: "a value of the wrong type" },
  not_senml: { zh: "不是 SenML", en: "not SenML" },
  not_sparkplug: { zh: "不是 Sparkplug B", en: "not Sparkplug B" },
  not_lpp: { zh: "不是 Cayenne LPP", en: "not Cayenne LPP" },
  not_text: { zh: "不是约定格式的文本", en: "not text of the profile's form" },
  not_encoded: { zh: "十六进制或 Base64 编码有误", en: "not the hex or base64 that the profile says" },
  wrong_length: { zh: "长度不对", en: "wrong length" },
  wrong_constant: { zh: "固定字节不符", en: "fixed bytes are different" },
  too_few_columns: { zh: "列数不足", en: "too few columns" },
  wrong_unit: { zh: "单位不符", en: "another unit" },
  unknown_alias: { zh: "别名未经声明", en: "an alias that no birth message named" },
  wrong_topic: { zh: "主题不是遥测", en: "a topic of no telemetry" },
  no_device: { zh: "没有说明是哪台设备", en: "does not name its device" },
  unknown_device: { zh: "设备未登记", en: "a device that is not listed" },
  too_many: { zh: "内容过多", en: "too much in one message" },
  no_envelope: { zh: "不是网络服务器的上行消息", en: "no uplink of a network server" },
  no_frame: { zh: "没有数据帧", en: "carries no frame" },
  no_base64: { zh: "数据帧的 Base64 有误", en: "the frame is no base64" },
  other_port: { zh: "端口不是数据端口", en: "a port that carries no readings" },
  no_point: { zh: "没有任何测点", en: "none of the profile's points in it" },
};

/** Why a message could not be decoded; a word that is new to this page is shown as it is. */
export function undecodedText(reason: string, language: Language): string {
  return UNDECODED[reason]?.[language] ?? reason;
}

const REFUSED: Record<string, { zh: string; en: string }> = {
  administrative: { zh: "管理员断开", en: "ended by an administrator" },
  bad_credentials: { zh: "用户名或密钥不对", en: "unknown device or wrong secret" },
  bad_topic: { zh: "主题无效", en: "no valid topic" },
  connect_timeout: { zh: "未及时发出 CONNECT", en: "no CONNECT in time" },
  enrolment: { zh: "自注册未获准", en: "not enrolled" },
  keep_alive: { zh: "心跳超时", en: "keep-alive ran out" },
  malformed: { zh: "报文格式有误", en: "malformed packet" },
  no_profile: { zh: "型号未生效", en: "its profile is not in force" },
  not_authorized: { zh: "主题不属于该设备", en: "another's topic" },
  not_connect: { zh: "首个报文不是 CONNECT", en: "the first packet is no CONNECT" },
  packet_too_large: { zh: "报文过大", en: "packet too large" },
  protocol_error: { zh: "违反协议", en: "protocol error" },
  receive_maximum: { zh: "未确认的消息过多", en: "too many unacknowledged messages" },
  shutting_down: { zh: "主机正在停机", en: "the hub is shutting down" },
  slow_reader: { zh: "接收过慢", en: "does not read what it is sent" },
  taken_over: { zh: "同一设备重复连接", en: "the same device connected again" },
  too_many_connections: { zh: "连接数已满", en: "too many connections" },
  topic_alias: { zh: "使用了主题别名", en: "topic alias" },
  unavailable: { zh: "内部转发不可用", en: "the services' broker does not answer" },
  unsupported_version: { zh: "协议版本不支持", en: "protocol version not spoken here" },
};

/** Why the MQTT door refused. */
export function refusalText(reason: string, language: Language): string {
  return REFUSED[reason]?.[language] ?? reason;
}
