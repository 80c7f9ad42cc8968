/** What the hub says of its device profiles, as far as somebody must act: files that are not in force. */

import type { ProfilesAnswer } from "../api/types";

/** A file that is not in force, or a profile whose file is gone. */
export interface ProfileTrouble {
  file: string;
  /** `refused`: nothing runs in its place. `outdated`: the former version runs. `removed`: the file is gone. */
  is: "refused" | "outdated" | "removed";
  profile: string | null;
  since: string | null;
  errors: string[];
}

/** Everything that is not as the folder has it, in the hub's order. */
export function profileTroubles(answer: ProfilesAnswer | null): ProfileTrouble[] {
  if (answer === null) return [];
  const refused = answer.refused.map(({ file, errors, since, running }): ProfileTrouble => ({
    file,
    is: running === null ? "refused" : "outdated",
    profile: running,
    since,
    errors,
  }));
  const removed = answer.profiles
    .filter((profile) => profile.is_removed)
    .map(({ file, id }): ProfileTrouble => ({ file, is: "removed", profile: id, since: null, errors: [] }));
  return [...refused, ...removed];
}
