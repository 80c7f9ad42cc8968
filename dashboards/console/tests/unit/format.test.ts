import { describe, expect, test } from "vitest";
import { ageText, durationText, streamAgeText, valueText } from "../../src/format";
import { DICTIONARIES, errorText, wordOfCode, words } from "../../src/i18n";
import { actionOf } from "../../src/keys";

const MIN = 60_000;
const HOUR = 60 * MIN;

test.each([
  [2.305, "m", "2.31 m"],
  [2, "m", "2.00 m"],
  [17, "%", "17 %"],
  [31.4, "%{LEL}", "31.4 % LEL"],
  [0.1178, "m3/s", "0.12 m³/s"],
  [1450.4, "uS/cm", "1,450 µS/cm"],
  [91.5, "deg", "91.5°"],
  [-87, "dB{mW}", "-87 dBm"],
  [3, "1", "3"],
  [4.5, "furlong", "4.50 furlong"],
  [null, "m", "—"],
])("%s %s is written %s", (value, unit, expected) => {
  expect(valueText(value, unit, "en")).toBe(expected);
});

test.each([
  [0, "0 秒", "0 s"],
  [59_400, "59 秒", "59 s"],
  [60_000, "1 分钟", "1 min"],
  [HOUR, "1 小时", "1 h"],
  [89 * MIN, "1 小时 29 分", "1 h 29 min"],
  [26 * HOUR, "1 天 2 小时", "1 d 2 h"],
  [30 * 24 * HOUR + HOUR, "30 天", "30 d"],
  [-5_000, "0 秒", "0 s"],
])("%i ms is worded", (ms, zh, en) => {
  expect(durationText(ms, "zh")).toBe(zh);
  expect(durationText(ms, "en")).toBe(en);
});

test("ages tell the present, the past, and a clock that runs ahead", () => {
  const now = 10 * HOUR;
  expect(ageText(now - 1_000, now, "en")).toBe("just now");
  expect(ageText(now - 5 * MIN, now, "zh")).toBe("5 分钟前");
  expect(ageText(now + 10 * MIN, now, "en")).toBe("device clock 10 min ahead");
  expect(streamAgeText(340, "en")).toBe("0.3 s");
  expect(streamAgeText(31_000, "zh")).toBe("31 秒");
});

describe("the words", () => {
  test("both languages have every word, none is empty, and parameters agree", () => {
    const { zh, en } = DICTIONARIES;
    expect(Object.keys(en).sort()).toEqual(Object.keys(zh).sort());
    for (const [word, text] of Object.entries(zh)) {
      const other = en[word as keyof typeof en];
      expect(text.trim(), word).not.toBe("");
      expect(other.trim(), word).not.toBe("");
      const parameters = (of: string): string[] => [...new Set(of.match(/\{\w+\}/g) ?? [])].sort();
      expect(parameters(other), word).toEqual(parameters(text));
    }
  });

  test("English has no Chinese in it but the name of the other language", () => {
    for (const [word, text] of Object.entries(DICTIONARIES.en)) {
      if (word.startsWith("header.language") || word === "help.l") continue;
      expect(text, word).not.toMatch(/\p{Script=Han}/u);
    }
  });

  test("codes are worded, and unknown ones shown", () => {
    expect(words("en")("duration.min", { min: 3 })).toBe("3 min");
    expect(wordOfCode("zh", "reason", "range")).toBe("超出量程");
    expect(wordOfCode("zh", "reason", "new_reason")).toBe("new_reason");
    expect(errorText("en", "teapot")).toBe("error (teapot)");
  });
});

describe("the keys", () => {
  const press = (key: string, more = {}) => ({
    key, ctrlKey: false, metaKey: false, altKey: false, isComposing: false, ...more,
  });

  test("letters act outside inputs only; Escape always", () => {
    expect(actionOf(press("a"), false)).toEqual({ do: "primary" });
    expect(actionOf(press("a"), true)).toBeNull();
    expect(actionOf(press("Escape"), true)).toEqual({ do: "escape" });
  });

  test("the browser's shortcuts and an input method keep their keys", () => {
    expect(actionOf(press("l", { ctrlKey: true }), false)).toBeNull();
    expect(actionOf(press("n", { isComposing: true }), false)).toBeNull();
    expect(actionOf(press("q"), false)).toBeNull();
  });
});
