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
  /** Grows with every opening: an answer that comes after its dialog was closed is not shown in the next one. */
  private opening = 0;

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
    Object.assign(this, { busy: false, seen: true });
    this.opening += 1;
    const isHere = this.whileOpen();
    this.open = true;
    this.timer ??= setInterval(() => void this.look(), LOOK_MS);
    if (device.command) {
      this.command = device.command;
      void this.look();
    }
    try {
      const specs = await api.commandSpecs(device.profile);
      if (!isHere()) return;
      this.specs = specs;
      this.spec = ordinary(specs)[0] ?? null;
    } catch (error) {
      if (isHere()) this.error = asApiError(error);
    }
  }

  close(): void {
    // A selection that nobody confirms keeps the gate from others for half a minute: given back at once.
    if (this.command?.state === "selected" && this.command.second_person === null && this.challenge !== null) void this.cancel();
    this.open = false;
    this.opening += 1;
    clearInterval(this.timer);
    this.timer = undefined;
    void this.hub.readDetail();
  }

  /** Step one: the hub checks everything and keeps the gate for us. */
  async select(): Promise<void> {
    const { device, spec } = this;
    if (device === null || spec === null || this.refuses) return;
    await this.do(async (isHere) => {
      const answer = await api.select(device.id, spec.name, spec.arg === null ? null : this.target);
      if (!isHere()) {
        // Nobody stands before it any more: a gate that nobody will confirm is given back.
        if (answer.command.second_person === null) await api.cancel(answer.command.id);
        return;
      }
      this.command = answer.command;
      this.challenge = answer.challenge;
      this.typed = "";
    });
  }

  /** Step two: sent, once, with the hub's own challenge. */
  async confirm(): Promise<void> {
    const { command, challenge } = this;
    if (command === null || challenge === null || this.refuses) return;
    await this.do(async (isHere) => {
      this.challenge = null;
      const answer = await api.confirm(command.id, challenge);
      if (isHere()) this.command = answer;
    });
  }

  async cancel(): Promise<void> {
    const { command } = this;
    if (command === null) return;
    await this.do(async (isHere) => {
      this.challenge = null;
      const answer = await api.cancel(command.id);
      if (isHere()) this.command = answer;
    });
  }

  /** Always one press; the hub ends whatever else executes. Not refused for a stale page or the past: to stop is safe. */
  async stop(): Promise<void> {
    const { device } = this;
    if (device === null) return;
    await this.do(async (isHere) => {
      this.challenge = null;
      const answer = await api.stop(device.id);
      if (isHere()) this.command = answer;
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

  /** Whether the dialog is still the one that it is now. */
  private whileOpen(): () => boolean {
    const mine = this.opening;
    return () => this.opening === mine;
  }

  private async do(act: (isHere: () => boolean) => Promise<void>): Promise<void> {
    if (this.busy) return;
    const isHere = this.whileOpen();
    this.busy = true;
    this.error = null;
    try {
      await act(isHere);
    } catch (error) {
      if (!isHere()) return;
      this.error = asApiError(error);
      await this.look();
    } finally {
      if (isHere()) this.busy = false;
    }
  }
}
