/** Puts parameters into a text: `{name}` becomes what is given for it, and stays where nothing is. */
export function fill(text: string, parameters: Readonly<Record<string, string | number>> = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(parameters[name] ?? whole));
}
