import { describe, expect, test } from "vitest";
import { byLateness, lateSinceMs, type OverdueCase } from "../../src/wall/overdue";
import { PAGE_MS, turned } from "../../src/wall/pages";

describe("pages", () => {
  const rows = [1, 2, 3, 4, 5, 6, 7, 8];

  test("go round for ever and lose no row", () => {
    const shown = [0, 1, 2, 3].map((page) => turned(rows, 3, page * PAGE_MS).rows);
    expect(shown).toEqual([[1, 2, 3], [4, 5, 6], [7, 8], [1, 2, 3]]);
  });

  test("an empty list has one empty page, and a full one no second", () => {
    expect(turned([], 3, 99 * PAGE_MS)).toEqual({ rows: [], page: 0, pages: 1 });
    expect(turned([1, 2, 3], 3, PAGE_MS).pages).toBe(1);
    expect(turned(rows, 3, -1).page).toBe(0);
  });
});

describe("overdue cases", () => {
  const one = (id: number, due: string | null, overdue: OverdueCase["overdue"] = "arrive"): OverdueCase => ({
    id,
    title: { zh: "", en: "" },
    severity: "major",
    unit: null,
    overdue,
    deadlines: { accept: "2026-07-01T00:00:00Z", arrive: due, fix: "2026-07-01T09:00:00Z" },
  });

  test("the latest comes first, one without a promise last", () => {
    const cases = [one(1, "2026-07-01T08:00:00Z"), one(2, null), one(3, "2026-07-01T07:00:00Z")];
    expect(byLateness(cases).map(({ id }) => id)).toEqual([3, 1, 2]);
  });

  test("a case is late since the promise of the step that is overdue", () => {
    expect(lateSinceMs(one(1, null, "fix"))).toBe(Date.parse("2026-07-01T09:00:00Z"));
    expect(lateSinceMs(one(1, null, null))).toBeNull();
  });
});
