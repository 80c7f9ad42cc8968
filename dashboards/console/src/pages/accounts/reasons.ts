/**
 * The hub's sentences about what is wrong with a row or a body, in Chinese. The hub writes them in English, with the value that
 * is wrong and what would be right; what is not known here is shown as it came. Pure.
 */

import type { Language } from "../../i18n";

/** Values come in backticks; they may hold anything. */
const V = "`([^`]*)`";

const KINDS: Record<string, string> = { Point: "点", LineString: "线", Polygon: "面", MultiPolygon: "多面", "LineString or Point": "线或点", "Polygon or Point": "面或点" };
const THINGS: Record<string, string> = { device: "设备", asset: "设施", zone: "片区", profile: "型号", "device id": "设备编号", "asset id": "设施编号", "zone id": "片区编号", "profile id": "型号编号" };
const kind = (name: string | undefined): string => KINDS[name ?? ""] ?? name ?? "";
const thing = (name: string | undefined): string => THINGS[name ?? ""] ?? name ?? "";
const mean = (hint: string | undefined): string => (hint === undefined ? "" : `;是不是「${hint}」?`);

type Parts = (string | undefined)[];
const SENTENCES: readonly (readonly [string, (parts: Parts) => string])[] = [
  // One row.
  [`${V} is in row (\\d+) already`, ([, id, row]) => `编号「${id}」与第 ${row} 行重复`],
  [`there is no zone ${V}(?:; import the zones first)?`, ([, id]) => `没有片区「${id}」:请先导入片区`],
  [`there is no asset ${V}; import the assets first`, ([, id]) => `没有设施「${id}」:请先导入设施`],
  [`there is no asset ${V} to be its parent`, ([, id]) => `没有可作上级的设施「${id}」`],
  [`there is no other asset ${V} to be upstream of it`, ([, id]) => `没有可作上游的设施「${id}」`],
  [`there is no profile ${V}; did you mean ${V}\\?`, ([, id, hint]) => `没有型号「${id}」${mean(hint)}`],
  [`there is no profile ${V}(?:; there are (.*))?`, ([, id, all]) => `没有型号「${id}」${all === undefined ? "" : `;现有:${all}`}`],
  [`there is no device ${V} to be its gateway; .*`, ([, id]) => `没有可作网关的设备「${id}」:请先导入,或放在同一文件中`],
  [`gateway ${V} stands behind gateway ${V} itself; name ${V}`, ([, id, above]) => `网关「${id}」自身在网关「${above}」之下:请写「${above}」`],
  [`gateway ${V} is the device itself; leave it empty`, ([, id]) => `网关「${id}」就是本设备:请留空`],
  [`${V} is a gateway itself, so it cannot stand behind gateway ${V}`, ([, id, above]) => `「${id}」自身是网关,不能在网关「${above}」之下`],
  [`address ${V} is given twice at gateway ${V}`, ([, id, gateway]) => `网关「${gateway}」下的地址「${id}」重复`],
  ["address without gateway; .*", () => "填了地址而没有网关:地址是网关对设备的称呼"],
  [`a (\\S+) is a (.+), not a (.+)`, ([, what, right, wrong]) => `${what} 应为${kind(right)},不能是${kind(wrong)}`],
  ["it is known as a (\\S+), which a CSV would lose; import it as GeoJSON", ([, shape]) => `已登记为${kind(shape)},CSV 会丢失形状:请用 GeoJSON 导入`],
  [`the parent of a parking-bay is a parking-lot; ${V} is a (\\S+)`, ([, id, what]) => `车位的上级须是停车场,「${id}」是 ${what}`],
  [`its parent ${V} makes it its own ancestor`, ([, id]) => `上级「${id}」使它成为自己的上级`],
  ["more than (\\d+) parents above it, or they go in a circle", ([, most]) => `上级超过 ${most} 层,或成环`],
  ["ids that start with (\\S+) are for service accounts", ([, prefix]) => `以「${prefix}」开头的编号留给服务账号`],
  ["the id (\\S+) is for devices that register themselves", ([, id]) => `编号「${id}」留给自行登记的设备`],
  ["a device of this id waits for approval; approve or reject it", () => "同编号的设备正待批准:请先批准或拒绝"],
  [`unknown kind ${V}; did you mean ${V}\\?`, ([, id, hint]) => `没有种类「${id}」${mean(hint)}`],
  [`unknown kind ${V}; kinds are (.*)`, ([, id, all]) => `没有种类「${id}」;种类有:${all}`],
  ["`kind` is missing; kinds are (.*)", ([, all]) => `缺少种类 kind;种类有:${all}`],
  ["a name has at most (\\d+) characters, this one has (\\d+)", ([, most, has]) => `名称最多 ${most} 个字符,现有 ${has} 个`],
  ["a name is one line without control characters", () => "名称须为一行,不含控制字符"],
  [`(lon|lat) ${V} is no number; .*`, ([, column, found]) => `${column} 「${found}」不是数字:请写度数,如 120.4851`],
  ["longitude (\\S+) is not between -180 and 180 degrees(; .*)?", ([, found, hint]) => `经度 ${found} 不在 -180 至 180 度之间${swapped(hint)}`],
  ["latitude (\\S+) is not between -90 and 90 degrees(; .*)?", ([, found, hint]) => `纬度 ${found} 不在 -90 至 90 度之间${swapped(hint)}`],
  ["modbus_unit without modbus_endpoint; give both or none", () => "填了 modbus_unit 而没有 modbus_endpoint:两项须同填或同空"],
  ["modbus_endpoint without modbus_unit; give both or none", () => "填了 modbus_endpoint 而没有 modbus_unit:两项须同填或同空"],
  [`modbus_unit ${V} is no number from 0 to 247, or 255`, ([, found]) => `modbus_unit 「${found}」须为 0 至 247 或 255`],
  ["modbus_unit (\\d+) is reserved by the Modbus standard; .*", ([, found]) => `modbus_unit ${found} 为 Modbus 标准保留:请用 1 至 247`],
  ["modbus_unit (\\d+) cannot be on a serial line; use 1 to 247", ([, found]) => `串口上不能有 modbus_unit ${found}:请用 1 至 247`],
  [`modbus_endpoint: ${V} is no Modbus endpoint; .*`, ([, found]) => `modbus_endpoint 「${found}」须写作 主机:端口,如 10.0.0.7:502`],
  ["the secret has (\\d+) characters, at least (\\d+) are needed; .*", ([, has, least]) => `密钥只有 ${has} 个字符,至少 ${least} 个;留空则自动生成`],
  ["the secret must have at most (\\d+) bytes and no control characters", ([, most]) => `密钥最多 ${most} 字节,不含控制字符`],
  ["it has (\\d+) fields, the header has (\\d+)", ([, has, wants]) => `有 ${has} 列,表头有 ${wants} 列`],
  ["it is not UTF-8; .*", () => "不是 UTF-8 编码:请另存为「CSV UTF-8」"],
  ["an? (.+) must not be empty", ([, what]) => `缺少${thing(what)}`],
  ["an? (.+) has at most (\\d+) bytes, this one has (\\d+)", ([, what, most, has]) => `${thing(what)}最多 ${most} 字节,现有 ${has} 字节`],
  [`an? (.+) has only (.+); ${V} has ${V}`, ([, what, , text, found]) => `${thing(what)}「${text}」不能有「${found}」:只用字母、数字和 . _ -`],
  ["it has no geometry", () => "没有几何 geometry"],
  ["it is no Feature: .*", () => "不是 Feature:type 须为「Feature」"],
  ["its geometry cannot be read: (.*)", ([, why]) => `几何读不懂:${why}`],
  ["a zone is a Polygon or a MultiPolygon", () => "片区须为面 Polygon 或多面 MultiPolygon"],
  ["the outline encloses no area", () => "轮廓没有围成面积"],
  ["the (outline|hole \\d+) is no ring: .*", ([, which]) => `${which === "outline" ? "轮廓" : "内孔"}没有闭合:至少四个点,首尾相同`],
  ["a LineString has two different positions at least", () => "线至少要有两个不同的点"],
  ["the MultiPolygon is empty", () => "多面是空的"],
  ["it has (\\d+) positions, at most (\\d+); simplify it", ([, has, most]) => `有 ${has} 个点,最多 ${most} 个:请先简化`],
  ["its properties have (\\d+) bytes, at most (\\d+)", ([, has, most]) => `属性有 ${has} 字节,最多 ${most} 字节`],
  [`${V} must be a text, not (.*); write it in quotes`, ([, key, found]) => `${key} 须为文字,不能是 ${found}:请加引号`],
  // The whole document.
  ["the header is wrong: (.*)\\. Columns are (.*)", ([, faults, all]) => `表头有误:${(faults ?? "").split("; ").map((one) => reasonText("zh", one)).join(";")}。列名有:${all}`],
  [`column ${V} is missing`, ([, name]) => `缺少列 ${name}`],
  [`column ${V} is there twice`, ([, name]) => `列 ${name} 重复`],
  [`unknown column ${V}(?:, did you mean ${V}\\?)?`, ([, name, hint]) => `没有列「${name}」${mean(hint)}`],
  ["fields are separated by commas", () => "列须用逗号分隔"],
  ["more than (\\d+) (?:rows|features); split the document", ([, most]) => `超过 ${most} 行:请分成几个文件`],
  ["the document is no GeoJSON: (.*)", ([, why]) => `不是 GeoJSON:${why}`],
  ["the document's type must be `FeatureCollection`, found (.*)", () => "整个文件的 type 须为 FeatureCollection"],
  ["a single Feature; .*", () => "只有一个 Feature:请放入 FeatureCollection 的 features 中"],
  ["the FeatureCollection has no `features`", () => "FeatureCollection 缺少 features"],
  [`its crs is ${V}; .*`, ([, crs]) => `坐标系「${crs}」不能导入:须为 WGS-84 或 CGCS2000 经纬度`],
  ["the file is not UTF-8 \\(byte (\\d+)\\)", ([, at]) => `不是 UTF-8 编码(第 ${at} 字节)`],
  ["the CSV cannot be read: (.*)", ([, why]) => `CSV 读不懂:${why}`],
  // Accounts.
  ["a name has 1 to (\\d+) characters, this one has (\\d+)", ([, most, has]) => `名称须有 1 至 ${most} 个字符,现有 ${has} 个`],
  ["a name has letters, digits and \\. _ - @ only", () => "名称只能有字母、汉字、数字和 . _ - @"],
  ["there are (\\d+) users already; delete some", ([, has]) => `已有 ${has} 个用户:请先删除一些`],
  ["there are (\\d+) tokens already; delete some", ([, has]) => `已有 ${has} 个令牌:请先吊销一些`],
  ["a label has 1 to (\\d+) characters, this one has (\\d+)", ([, most, has]) => `名称须有 1 至 ${most} 个字符,现有 ${has} 个`],
  ["a user has 1 to (\\d+) zones, or the whole town", () => "至少选一个片区,或选全镇"],
  ["a token lives 1 to (\\d+) days, not (\\d+)", ([, most, has]) => `有效期须为 1 至 ${most} 天,不能是 ${has} 天`],
  ["a wall's name has 1 to (\\d+) characters", ([, most]) => `大屏名称须有 1 至 ${most} 个字符`],
];

function swapped(hint: string | undefined): string {
  if (hint === undefined) return "";
  return hint.includes("swapped") ? ":经纬度似乎写反了,经度在前" : ":像是投影坐标(米),请先转换为经纬度(EPSG:4326)";
}

const compiled = SENTENCES.map(([pattern, spoken]) => [new RegExp(`^${pattern}$`, "su"), spoken] as const);

/** What the hub said, in the reader's language. */
export function reasonText(language: Language, said: string): string {
  if (language === "en") return said;
  for (const [pattern, spoken] of compiled) {
    const found = pattern.exec(said);
    if (found !== null) return spoken([...found]);
  }
  return said;
}
