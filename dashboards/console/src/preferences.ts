/** What a browser remembers of its operator. Storage may be forbidden; the console then starts from the defaults. */

import type { Language } from "./i18n";

export type Theme = "auto" | "light" | "dark";

const KEY = "townhub.";

function read(name: string): string | null {
  try {
    return localStorage.getItem(KEY + name);
  } catch {
    return null;
  }
}

function write(name: string, value: string): void {
  try {
    localStorage.setItem(KEY + name, value);
  } catch {
    // Forbidden or full: the choice lasts as long as the page.
  }
}

export const load = {
  /** `?lang=` wins, then what was chosen here before, then the browser's own language. */
  language(): Language {
    const asked = new URLSearchParams(location.search).get("lang") ?? read("language");
    if (asked === "zh" || asked === "en") return asked;
    return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
  },
  theme(): Theme {
    const asked = new URLSearchParams(location.search).get("theme") ?? read("theme");
    return asked === "light" || asked === "dark" ? asked : "auto";
  },
};

export const save = {
  language: (language: Language): void => write("language", language),
  theme: (theme: Theme): void => write("theme", theme),
};
