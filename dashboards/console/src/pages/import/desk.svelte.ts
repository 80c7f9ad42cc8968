/** One import on its way: what was chosen, what the hub said of it. */

import { ApiError } from "../../api/client";
import { hubApi } from "../../api/hub";
import { Deed } from "../accounts/deed.svelte";
import {
  bytesOf,
  decode,
  FORMATS,
  formatOf,
  isTaken,
  MAX_BYTES,
  readSource,
  systemOf,
  TYPES,
  without,
  type Kind,
  type Report,
  type Source,
  type System,
} from "./import";

/** A large import is read, checked and written as a whole. */
const TIMEOUT_MS = 300_000;

export type Fault = "empty" | "json" | "collection" | "rows" | "size" | "format" | "read";

export class ImportDesk {
  /** The name of the file; nothing for pasted text. */
  name = $state("");
  source = $state.raw<Source | null>(null);
  fault = $state<Fault | null>(null);
  isGbk = $state(false);
  bytes = $state(0);
  /** What the operator says of the coordinates, where the document does not. */
  chosen = $state<System | "">("");
  /** The numbers that the rows had in the file. */
  numbers = $state.raw<number[]>([]);
  isRest = $state(false);
  report = $state.raw<Report | null>(null);
  /** Whether `report` tells of a check only. */
  isCheck = $state(true);
  /** Whether the secrets of the last import were taken home. */
  isKept = $state(true);
  readonly deed = new Deed();

  constructor(readonly kind: Kind) {}

  needsSystem = $derived.by(() => this.kind !== "devices");
  said = $derived(this.source === null ? null : systemOf(this.source));
  system = $derived(this.said ?? this.chosen);
  isReady = $derived(this.source !== null && this.fault === null && (!this.needsSystem || isTaken(this.system)));

  /** Reads a file; sizes are looked at before anything of it is. */
  async take(file: File): Promise<void> {
    this.clear();
    this.name = file.name;
    this.bytes = file.size;
    if (file.size > MAX_BYTES) {
      this.fault = "size";
      return;
    }
    try {
      const { text, isGbk } = decode(await file.arrayBuffer());
      this.isGbk = isGbk;
      this.read(text);
    } catch {
      this.fault = "read";
    }
  }

  /** Takes a pasted text. */
  paste(text: string): void {
    this.clear();
    this.read(text);
  }

  private read(text: string): void {
    this.bytes = bytesOf(text);
    const format = formatOf(text);
    if (this.bytes > MAX_BYTES) this.fault = "size";
    else if (text.trim() !== "" && !FORMATS[this.kind].includes(format)) this.fault = "format";
    if (this.fault !== null) return;
    const source = readSource(text, format);
    if ("fault" in source) this.fault = source.fault;
    else {
      this.source = source;
      this.numbers = source.rows.map((_, at) => at + 1);
    }
  }

  clear(): void {
    this.name = "";
    this.source = null;
    this.fault = null;
    this.isGbk = false;
    this.bytes = 0;
    this.numbers = [];
    this.isRest = false;
    this.report = null;
    this.isKept = true;
    this.deed.forget();
  }

  /** Leaves out what the hub refused, and has the rest checked. */
  async dropRefused(): Promise<void> {
    if (this.source === null || this.report === null) return;
    const refused = new Set(this.report.rows.filter(({ status }) => status === "rejected").map(({ row }) => row));
    const { text, numbers } = without(this.source, refused, this.numbers);
    const rest = readSource(text, this.source.format);
    if ("fault" in rest) return;
    this.source = rest;
    this.numbers = numbers;
    this.bytes = bytesOf(text);
    this.isRest = true;
    await this.send(true);
  }

  /** Has it checked, or imported. A report of refused rows is an answer, not a failure. */
  async send(isCheck: boolean): Promise<boolean> {
    const source = this.source;
    if (source === null || !this.isReady) return false;
    const ask = { query: { dry_run: isCheck }, type: TYPES[source.format], signal: AbortSignal.timeout(TIMEOUT_MS) };
    return this.deed.run(async () => {
      let report: Report;
      try {
        if (this.kind === "assets") report = (await hubApi.post("/api/v1/assets/import", { ...ask, body: source.text })) as unknown as Report;
        else if (this.kind === "zones") report = (await hubApi.post("/api/v1/zones/import", { ...ask, body: source.text })) as unknown as Report;
        else report = (await hubApi.post("/api/v1/devices/import", { ...ask, body: source.text })) as unknown as Report;
      } catch (error) {
        const rows = error instanceof ApiError && error.status === 422 ? error.members["rows"] : undefined;
        if (!Array.isArray(rows)) throw error;
        report = (error as ApiError).members as unknown as Report;
      }
      this.report = report;
      this.isCheck = isCheck || !report.applied;
      this.isKept = !report.applied || !report.rows.some(({ secret }) => typeof secret === "string");
    });
  }
}
