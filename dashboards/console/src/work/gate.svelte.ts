/** The state of one command, from the choice of a target to the gate's own read-back. */

import { api, asApiError, type ApiError } from "../api/client";
import type { Command, CommandSpec, Device } from "../api/types";
import type { Console } from "../console.svelte";
import { isOver, ordinary } from "./gate";

/** A command on its way is asked for so often, milliseconds: where its gate stands is not in the feed's word of it. */
const LOOK_MS = 1_000;

export class Gate {
  device = $state.raw<Device | null>(null);
  /** The number that stands on the gate. */
  number = $state("");
  specs = $state.raw<CommandSpec[]>([]);
  spec = $state.raw<CommandSpec | null>(null);
  target = $state<number | null>(null);
  typed = $state("");
  command = $state.raw<Command | null>(null);
  challenge = $state<string | null>(null);
  busy = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** Whether the hub answered the last look; if not, what is shown is old. */
  seen = $state(true);
  open = $state(false);

  private readonly hub: Console;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(hub: Console) {
    this.hub = hub;
  }

  /** Nothing is ordered by a page that does not show the present: it is stale, or it plays back. */
  get refuses(): boolean {
    return this.hub.stale || this.hub.past !== null;
  }

  /** Opens for a device; a command that is under way is taken up where it stands. */
  async start(device: Device, number: string): Promise<void> {
    if (this.hub.past !== null) return;
    Object.assign(this, { device, number, specs: [], spec: null, target: null, typed: "", command: null, challenge: null, error: null });
    this.open = true;
    this.timer ??= setInterval(() => void this.look(), LOOK_MS);
    if (device.command) {
      this.command = device.command;
      void this.look();
    }
    try {
      this.specs = await api.commandSpecs(device.profile);
      this.spec = ordinary(this.specs)[0] ?? null;
    } catch (error) {
      this.error = asApiError(error);
    }
  }

  close(): void {
    // A selection that nobody confirms keeps the gate from others for half a minute: given back at once.
    if (this.command?.state === "selected" && this.command.second_person === null && this.challenge !== null) void this.cancel();
    this.open = false;
    clearInterval(this.timer);
    this.timer = undefined;
    void this.hub.readDetail();
  }

  /** Step one: the hub checks everything and keeps the gate for us. */
  async select(): Promise<void> {
    const { device, spec } = this;
    if (device === null || spec === null || this.refuses) return;
    await this.do(async () => {
      const answer = await api.select(device.id, spec.name, spec.arg === null ? null : this.target);
      this.command = answer.command;
      this.challenge = answer.challenge;
      this.typed = "";
    });
  }

  /** Step two: sent, once, with the hub's own challenge. */
  async confirm(): Promise<void> {
    const { command, challenge } = this;
    if (command === null || challenge === null || this.refuses) return;
    await this.do(async () => {
      this.challenge = null;
      this.command = await api.confirm(command.id, challenge);
    });
  }

  async cancel(): Promise<void> {
    const { command } = this;
    if (command === null) return;
    await this.do(async () => {
      this.challenge = null;
      this.command = await api.cancel(command.id);
    });
  }

  /** Always one press; the hub ends whatever else executes. Not refused for a stale page or the past: to stop is safe. */
  async stop(): Promise<void> {
    const { device } = this;
    if (device === null) return;
    await this.do(async () => {
      this.challenge = null;
      this.command = await api.stop(device.id);
    });
  }

  /** Back to the choice of a target. */
  again(): void {
    Object.assign(this, { command: null, challenge: null, typed: "", error: null });
  }

  /** The feed's word of a command: what the other person, the hub or the gate did shows at once. */
  heard(command: Command): void {
    if (this.command?.id !== command.id || command.version <= this.command.version) return;
    this.command = command;
    if (command.state !== "selected") this.challenge = null;
  }

  private async look(): Promise<void> {
    const { command } = this;
    if (command === null || isOver(command)) return;
    try {
      const answer = await api.command(command.id);
      if (this.command?.id !== command.id || answer.command.version < this.command.version) return;
      this.command = answer.command;
      if (answer.command.state === "selected") this.challenge ??= answer.challenge;
      else this.challenge = null;
      this.seen = true;
    } catch {
      this.seen = false;
    }
  }

  private async do(act: () => Promise<void>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.error = null;
    try {
      await act();
    } catch (error) {
      this.error = asApiError(error);
      await this.look();
    } finally {
      this.busy = false;
    }
  }
}
