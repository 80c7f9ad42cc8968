/** The lines that somebody types at a terminal to try a device: quoted for any POSIX shell. Pure. */

import type { Schemas } from "../../api/hub";

export type Doors = Schemas["Status"]["mqtt"];
export type Example = Schemas["ProfileExample"];
export type Register = Schemas["ProfileRegister"];

const LOOPBACK = /^(127\.|::1$|localhost$)/;
const ANY = new Set(["0.0.0.0", "::"]);

/** Where devices reach the hub, as seen from here; `isLocal` when only programs on the hub's own host do. */
export function reach(doors: Doors, pageHost: string): { host: string; isLocal: boolean } {
  const here = pageHost.replace(/^\[|\]$/g, "");
  if (ANY.has(doors.host)) return { host: here, isLocal: false };
  return { host: doors.host, isLocal: LOOPBACK.test(doors.host) };
}

/** A text as one word of a shell. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Bytes as `printf` of any shell writes them. */
export function octal(hex: string): string {
  return (hex.match(/../g) ?? []).map((byte) => `\\${Number.parseInt(byte, 16).toString(8).padStart(3, "0")}`).join("");
}

interface Publish {
  host: string;
  port: number;
  tls: boolean;
  user: string;
  password: string;
  /** The client identifier, where it matters. */
  client?: string;
  device: string;
  example: Example | null;
}

/** Publishes a profile's example as this device. */
export function publishLine({ host, port, tls, user, password, client, device, example }: Publish): string {
  const put = (text: string): string => text.replaceAll("{device}", device);
  const to = [
    "mosquitto_pub",
    `-h ${quoted(host)} -p ${port}`,
    tls ? "--tls-use-os-certs" : "",
    client === undefined ? "" : `-i ${quoted(client)}`,
    `-u ${quoted(user)} -P ${quoted(password)}`,
    `-q 1 -t ${quoted(put(example?.topic ?? "devices/{device}/telemetry"))}`,
  ];
  const line = to.filter((part) => part !== "").join(" ");
  if (example?.hex) return `printf '${octal(example.hex)}' | ${line} -s`;
  return `${line} -m ${quoted(put(example?.text ?? "{}"))}`;
}

const TABLES: Record<string, number> = { coil: 0, discrete: 1, input: 3, holding: 4 };

/** Reads a register as the hub will; nothing for a way that mbpoll does not go. */
export function pollLine(endpoint: string, unit: number, register: Register): string | null {
  const what = `-a ${unit} -t ${TABLES[register.table] ?? 4} -0 -r ${register.address} -c ${register.count} -1`;
  const serial = /^rtu:\/\/(\/[^?]+)(?:\?(.*))?$/.exec(endpoint);
  if (serial) {
    const how = new URLSearchParams(serial[2] ?? "");
    return `mbpoll -m rtu -b ${how.get("baud") ?? 9600} -P ${how.get("parity") ?? "none"} -s ${how.get("stop") ?? 1} ${what} ${quoted(serial[1] ?? "")}`;
  }
  const tcp = /^(?!rtu)\[?([^\]/]+)\]?:(\d+)$/.exec(endpoint);
  return tcp ? `mbpoll -m tcp -p ${tcp[2]} ${what} ${quoted(tcp[1] ?? "")}` : null;
}

/** Whether a text may be a device's id; the hub has the last word. */
export const ID_PATTERN = "[a-zA-Z0-9._:\\-]{1,64}";
