/** Puts parameters into a text: `{name}` becomes what is given for it, and stays where nothing is. */
export function fill(text: string, parameters: Readonly<Record<string, string | number>> = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(parameters[name] ?? whole));
}

/** The words of a part that is loaded by itself: both languages beside each other, `zh` being the source of the keys. */
export function dictionary<K extends string>(both: Record<"zh" | "en", Readonly<Record<K, string>>>) {
  return (language: "zh" | "en") =>
    (word: K, parameters?: Readonly<Record<string, string | number>>): string => fill(both[language][word], parameters);
}

/** The word for a code that the hub sent; a code that is new to this page is shown as it is. */
export function codeWords(both: Record<"zh" | "en", Readonly<Record<string, string>>>) {
  return (language: "zh" | "en", prefix: string, code: string): string => both[language][`${prefix}.${code}`] ?? code;
}
