import { describe, expect, it } from "vitest";
import { ApiError } from "../../src/api/client";
import { csvText } from "../../src/pages/accounts/download";
import { reasonText } from "../../src/pages/accounts/reasons";
import { refusalText } from "../../src/pages/accounts/words";
import { deviceOf, isWall, keyState, wholeNumber } from "../../src/pages/access/access";
import { auditQuery, briefText, gapIn } from "../../src/pages/audit/audit";
import { actionText } from "../../src/pages/audit/words";
import { decode, formatOf, readSource, records, refusedCsv, systemOf, without, type Report } from "../../src/pages/import/import";
import { isName, lastSeen, listUsers, patchOf, type UserInfo } from "../../src/pages/users/users";
import { areaKm2, outlineOf, polygonsOf, sheetOf } from "../../src/pages/zones/zones";

const user = (name: string, more: Partial<UserInfo> = {}): UserInfo => ({
  name, role: "viewer", zones: null, disabled: false, must_change: false, created_at: "2026-01-01T00:00:00Z", ...more,
});

describe("users", () => {
  it("has the hub's idea of a name", () => {
    for (const good of ["ann", "张三", "a.b-c_d@town", "7"]) expect(isName(good), good).toBe(true);
    for (const bad of ["", " ann", "(hub)", "a/b", "..", "李 四", "x".repeat(65)]) expect(isName(bad), bad).toBe(false);
  });

  it("sends only what was changed, and null for the whole town", () => {
    const before = user("ann", { zones: ["b", "a"] });
    expect(patchOf(before, { role: "viewer", zones: ["a", "b"], disabled: false })).toBeNull();
    expect(patchOf(before, { role: "operator", zones: null, disabled: false })).toEqual({ role: "operator", zones: null });
  });

  it("filters by name and role, and knows the last use", () => {
    const users = [user("ann"), user("Bob", { role: "admin" })];
    expect(listUsers(users, { text: "bo", role: "" }).map(({ name }) => name)).toEqual(["Bob"]);
    expect(listUsers(users, { text: "", role: "viewer" }).map(({ name }) => name)).toEqual(["ann"]);
    const session = (used_at: string) => ({ id: used_at, user: "ann", agent: "", created_at: used_at, used_at, ends_at: used_at, current: false });
    expect(lastSeen([session("2026-01-01T00:00:00Z"), session("2026-01-02T00:00:00Z")]).get("ann")).toBe("2026-01-02T00:00:00Z");
  });
});

describe("refusals", () => {
  it("says what the hub said in the reader's language", () => {
    const refused = new ApiError("bad_body", 422, "user `x` is refused: …", { errors: ["there is no zone `mars`", "something new"] });
    expect(refusalText("zh", refused)).toBe("主机不接受:没有片区「mars」:请先导入片区;something new");
    expect(refusalText("en", refused)).toContain("there is no zone `mars`; something new");
    expect(refusalText("zh", new ApiError("last_admin", 409, ""))).toContain("至少要留一名");
    expect(refusalText("zh", new ApiError("unreachable", 0, ""))).toContain("不知道是否已办到");
  });

  it("knows the hub's sentences of rows and headers", () => {
    const check = (said: string, spoken: string): void => expect(reasonText("zh", said)).toBe(spoken);
    check("`A-1` is in row 4 already", "编号「A-1」与第 4 行重复");
    check("latitude 120.5 is not between -90 and 90 degrees; longitude and latitude look swapped: longitude (lon, x) comes first", "纬度 120.5 不在 -90 至 90 度之间:经纬度似乎写反了,经度在前");
    check("there is no profile `wz-mh2`; did you mean `wz-mh1`?", "没有型号「wz-mh2」;是不是「wz-mh1」?");
    check("the header is wrong: column `id` is missing; unknown column `name`. Columns are id,kind", "表头有误:缺少列 id;没有列「name」。列名有:id,kind");
    check("a asset id must not be empty", "缺少设施编号");
    expect(reasonText("en", "`A-1` is in row 4 already")).toBe("`A-1` is in row 4 already");
  });
});

describe("access", () => {
  it("tells browsers apart that call themselves by each other's names", () => {
    expect(deviceOf("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0")).toEqual({ browser: "Edge", system: "Windows" });
    expect(deviceOf("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Safari/604.1")).toEqual({ browser: "Safari", system: "iOS" });
    expect(deviceOf("")).toBeNull();
  });

  it("knows a wall's token, a key's state and whole numbers", () => {
    const token = { id: 1, user: "a", label: "wall: 东", scope: ["view" as const], created_at: "", ends_at: null, used_at: null };
    expect([isWall(token), isWall({ ...token, scope: null }), isWall({ ...token, label: "x" })]).toEqual([true, false, false]);
    const key = { id: 1, label: "", profile: null, zone: null, max_devices: 2, used: 1, created_at: "", expires_at: "2026-01-02T00:00:00Z", revoked_at: null };
    const [before, after] = [Date.parse("2026-01-01T00:00:00Z"), Date.parse("2026-01-03T00:00:00Z")];
    expect([keyState(key, before), keyState({ ...key, used: 2 }, before), keyState(key, after), keyState({ ...key, revoked_at: "x" }, before)]).toEqual(["open", "used_up", "over", "revoked"]);
    expect([wholeNumber("24", 1, 30), wholeNumber("31", 1, 30), wholeNumber("2.5", 1, 30), wholeNumber("", 1, 30)]).toEqual([24, null, null, null]);
  });
});

describe("audit", () => {
  it("names what changed, else the first facts", () => {
    expect(briefText({ before: { role: "viewer", zones: null }, after: { role: "operator", zones: null } })).toBe("role: viewer → operator");
    expect(briefText({ name: { zh: "西栅", en: "Xizha" }, note: null, list: [1, 2] })).toBe("name: 西栅 / Xizha · list: 1, 2");
    expect(briefText({ until: "2026-01-02T00:00:00.5Z" }, () => "then")).toBe("until: then");
    expect(briefText({})).toBe("");
  });

  it("finds a hole in the numbers", () => {
    const page = (...numbers: number[]) => numbers.map((seq) => ({ seq }));
    expect(gapIn(page(5, 4, 3))).toBeNull();
    expect(gapIn(page(9, 8, 4, 3))).toEqual({ after: 4, count: 3 });
  });

  it("asks for a kind by its dot and leaves out what is empty", () => {
    expect(auditQuery({ thing: "user", actor: "", before: "7", from: "x" }, () => undefined)).toEqual({ action: "user.", before: 7, limit: 100 });
    expect([actionText("zh", "user.add"), actionText("en", "user.add"), actionText("zh", "moon.rise")]).toEqual(["用户 · 新建", "User added", "moon.rise"]);
  });
});

describe("import", () => {
  const csv = 'id,name\r\n1,"a\nb"\r\n\r\n2,bad\r\n';

  it("reads tables with line ends in quotes, and both encodings", () => {
    expect(records(`\uFEFF${csv}`)).toEqual(["id,name", '1,"a\nb"', "2,bad"]);
    expect(decode(new Uint8Array([0xd6, 0xd0]).buffer)).toEqual({ text: "中", isGbk: true });
    expect(decode(new TextEncoder().encode("中").buffer as ArrayBuffer)).toEqual({ text: "中", isGbk: false });
    expect([formatOf(' {"type"'), formatOf("id,kind")]).toEqual(["geojson", "csv"]);
  });

  it("says what is no source", () => {
    const fault = (text: string, format: "csv" | "geojson") => (readSource(text, format) as { fault?: string }).fault;
    expect([fault("", "csv"), fault("id\n", "csv"), fault("{", "geojson"), fault('{"type":"Feature"}', "geojson"), fault(csv, "csv")]).toEqual(["empty", "empty", "json", "collection", undefined]);
  });

  it("knows what a document says of its coordinates", () => {
    const of = (crs: string) => systemOf(readSource(`{"type":"FeatureCollection","crs":{"properties":{"name":"${crs}"}},"features":[1]}`, "geojson") as never);
    expect([of("urn:ogc:def:crs:OGC:1.3:CRS84"), of("EPSG:4490"), of("EPSG:3857")]).toEqual(["wgs84", "cgcs2000", "other"]);
  });

  it("leaves out refused rows, keeps their numbers, and gives them home to be mended", () => {
    const source = readSource(csv, "csv");
    if ("fault" in source) throw new Error(source.fault);
    expect(without(source, new Set([2]), [])).toEqual({ text: 'id,name\r\n1,"a\nb"\r\n', numbers: [1] });
    expect(without(source, new Set([1]), [7, 9]).numbers).toEqual([9]);
    const report: Report = { applied: false, accepted: 1, rejected: 1, rows: [{ row: 1, id: "1", status: "created", errors: [] }, { row: 2, id: "2", status: "rejected", errors: ["no, not so"] }] };
    expect(refusedCsv(source, report, [4, 5], (said) => said)).toBe('row,refused,id,name\r\n5,"no, not so",2,bad\r\n');
    expect(csvText([["a,b", 'c"d']])).toBe('"a,b","c""d"\r\n');
  });
});

describe("zones", () => {
  const square = [[[0, 0], [0.01, 0], [0.01, 0.01], [0, 0.01], [0, 0]]];

  it("measures and draws what is a polygon, and nothing else", () => {
    expect(areaKm2(polygonsOf({ type: "Polygon", coordinates: square }))).toBeCloseTo(1.236, 2);
    expect(polygonsOf({ type: "Point", coordinates: [0, 0] })).toEqual([]);
    expect(polygonsOf({ type: "Polygon", coordinates: [[[0, "x"], [1, 1], [1, 0], [0, 0]]] })).toEqual([]);
    const outline = outlineOf({ id: "z", properties: { name: { zh: "西", en: "West" } }, geometry: { type: "Polygon", coordinates: square } }, 1, "en");
    expect([outline.id, outline.name]).toEqual(["z", "West"]);
    const sheet = sheetOf([outline], 640, 420);
    expect(sheet.path(outline.polygons)).toMatch(/^M[\d. ]+L.*Z$/);
    const [x, y] = sheet.middle(outline.polygons);
    expect([x, y].map(Math.round)).toEqual([320, Math.round(sheet.height / 2)]);
    expect(sheet.path(polygonsOf(null))).toBe("");
  });
});
