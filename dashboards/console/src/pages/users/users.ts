/** What the users' page knows of users. Pure. */

import type { Schemas } from "../../api/hub";

export type UserInfo = Schemas["UserInfo"];

/** As the hub has it: letters of any script, digits and `. _ - @`. */
export function isName(name: string): boolean {
  return /^[\p{L}\p{N}\p{M}._@-]{1,64}$/u.test(name) && name !== "." && name !== "..";
}

export interface UserFilter {
  text: string;
  /** Empty: every role. */
  role: string;
}

export function listUsers(users: readonly UserInfo[], { text, role }: UserFilter): UserInfo[] {
  const find = text.trim().toLowerCase();
  return users.filter((user) => (role === "" || user.role === role) && user.name.toLowerCase().includes(find));
}

/** When each user was last seen, by the sessions that are open. */
export function lastSeen(sessions: readonly Schemas["SessionInfo"][]): ReadonlyMap<string, string> {
  const seen = new Map<string, string>();
  for (const { user, used_at } of sessions) {
    const known = seen.get(user);
    if (known === undefined || Date.parse(used_at) > Date.parse(known)) seen.set(user, used_at);
  }
  return seen;
}

/** What to send so that `before` becomes what the form says; nothing when it is so already. */
export function patchOf(before: UserInfo, form: Pick<UserInfo, "role" | "zones" | "disabled">): Schemas["UserPatch"] | null {
  const patch: Schemas["UserPatch"] = {};
  if (form.role !== before.role) patch.role = form.role;
  if (sorted(form.zones) !== sorted(before.zones)) patch.zones = form.zones;
  if (form.disabled !== before.disabled) patch.disabled = form.disabled;
  return Object.keys(patch).length === 0 ? null : patch;
}

function sorted(zones: readonly string[] | null | undefined): string {
  return zones === null || zones === undefined ? "*" : [...zones].sort().join(",");
}
