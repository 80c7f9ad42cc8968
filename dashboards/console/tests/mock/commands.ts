/** The command room of the mock hub: select, confirm, cancel, stop. What the gate does then, a test says. */

import type { Command, CommandAnswer, CommandSpec, Fact, Label } from "../../src/api/types";
import { Refused, type MockUser } from "./cases";

const both = (zh: string, en: string): Label => ({ zh, en });

export const SPECS: CommandSpec[] = [
  {
    name: "set_opening", label: both("调节开度", "Move gate"), emergency: false,
    arg: { unit: "m", range: [0, 2], step: 0.01, max_change: 1, from: "gate.opening" },
  },
  { name: "stop", label: both("急停", "Stop"), emergency: true, arg: null },
];
/** A step beyond this needs two people, metres. */
const TWO_PERSON = 0.5;
const SELECT_S = 30;

export class CommandDesk {
  readonly commands: Command[] = [];
  /** How often an order went out to a gate. */
  sent = 0;
  /** The next selection is refused so. */
  refusal: { text: Label; facts: Fact[] } | null = null;

  constructor(
    private readonly nowMs: () => number,
    private readonly tell: (command: Command) => void,
  ) {}

  private at(afterS = 0): string {
    return new Date(this.nowMs() + afterS * 1000).toISOString();
  }

  running(device: string): Command | null {
    return this.commands.findLast((one) => one.device === device && one.ended_at === null) ?? null;
  }

  find(id: number): Command {
    const found = this.commands.find((one) => one.id === id);
    if (found === undefined) throw new Refused(404, "not_found");
    return found;
  }

  private challenge(command: Command, user: MockUser): string | null {
    if (command.state !== "selected") return null;
    const isOwn = command.selected_by === user.name;
    return isOwn === (command.second_person === null) ? `c-${command.id}-${user.name}` : null;
  }

  show(id: number, user: MockUser): CommandAnswer {
    const command = this.find(id);
    return { command, challenge: this.challenge(command, user) };
  }

  select(body: { device: string; target?: number; command: string }, asset: string, number: number, user: MockUser): CommandAnswer {
    if (this.refusal !== null) {
      throw new Refused(409, "command_refused", { cause: "blocked-by-interlocking", rule: "require", ...this.refusal });
    }
    if (this.running(body.device) !== null) {
      throw new Refused(409, "command_refused", { cause: "object-already-selected", rule: "busy", text: both("闸门正由他人操作", "Somebody else has the gate"), facts: [] });
    }
    const present = 0.85;
    const isLarge = Math.abs((body.target ?? present) - present) > TWO_PERSON;
    const command: Command = {
      id: this.commands.length + 1, version: 1, device: body.device, asset, asset_number: number, command: body.command,
      label: SPECS[0]!.label, unit: "m", target: body.target ?? null, present, value: present, state: "selected", step: null,
      cause: null, text: null, facts: [], emergency: false,
      second_person: isLarge ? both("单步超过 0.5 m", "A step of more than 0.5 m") : null, selected_by: user.name,
      selected_at: this.at(), confirmed_by: null, confirmed_at: null, sent_at: null, deadline: this.at(SELECT_S), ended_at: null, note: null,
    };
    this.commands.push(command);
    return this.show(command.id, user);
  }

  confirm(id: number, challenge: string, user: MockUser): Command {
    const command = this.find(id);
    if (challenge !== this.challenge(command, user)) {
      throw new Refused(403, "command_refused", { cause: "no-access-authority", rule: "challenge", text: both("复核码无效", "The challenge is not valid"), facts: [] });
    }
    this.sent += 1;
    return this.go(id, { state: "executing", step: "writing", confirmed_by: user.name, confirmed_at: this.at(), sent_at: this.at(), deadline: this.at(480) });
  }

  /** The next thing that a command does. */
  go(id: number, change: Partial<Command>): Command {
    const command = this.find(id);
    const isEnd = change.state !== undefined && !["selected", "confirmed", "executing"].includes(change.state);
    Object.assign(command, change, { version: command.version + 1 }, isEnd ? { ended_at: this.at(), step: null, deadline: null } : {});
    this.tell(command);
    return command;
  }

  cancel(id: number): Command {
    return this.go(id, { state: "cancelled", cause: "abortion-by-cancel" });
  }

  stop(device: string, user: MockUser): Command {
    const running = this.running(device);
    if (running !== null) this.cancel(running.id);
    const model = this.commands.at(-1);
    const command: Command = {
      ...(model ?? ({} as Command)), id: this.commands.length + 1, version: 1, device, command: "stop", label: SPECS[1]!.label, unit: "1",
      target: null, present: null, value: null, state: "reached", step: null, cause: null, text: null, facts: [], emergency: true,
      second_person: null, selected_by: user.name, deadline: null, ended_at: this.at(), sent_at: this.at(),
    };
    this.commands.push(command);
    return command;
  }
}
