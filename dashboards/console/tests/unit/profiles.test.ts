import { describe, expect, it } from "vitest";
import type { ProfilesAnswer } from "../../src/api/types";
import { DICTIONARIES } from "../../src/i18n";
import { profileTroubles } from "../../src/town/profiles";

const profile = { id: "wz-mh1", file: "wz-mh1.toml", version: "0a1b", is_outdated: false, is_removed: false };

describe("profiles that are not in force", () => {
  it("a calm town has none", () => {
    expect(profileTroubles(null)).toEqual([]);
    expect(profileTroubles({ profiles: [profile], refused: [] })).toEqual([]);
  });

  it("a refused file says whether its former version runs", () => {
    const answer: ProfilesAnswer = {
      profiles: [{ ...profile, is_outdated: true }, { ...profile, id: "old", file: "old.toml", is_removed: true }],
      refused: [
        { file: "wz-mh1.toml", errors: ["the test `calm` fails"], since: "2026-09-21T14:13:20Z", running: "wz-mh1" },
        { file: "new.toml", errors: ["`id` is missing"], since: null, running: null },
      ],
    };
    expect(profileTroubles(answer).map(({ file, is }) => [file, is])).toEqual([
      ["wz-mh1.toml", "outdated"],
      ["new.toml", "refused"],
      ["old.toml", "removed"],
    ]);
  });

  it("every case has its words in both languages", () => {
    for (const words of Object.values(DICTIONARIES)) {
      for (const is of ["refused", "outdated", "removed"] as const) expect(words[`profiles.${is}`]).not.toBe("");
    }
  });
});
