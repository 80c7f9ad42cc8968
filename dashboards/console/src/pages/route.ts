/** Which page the address names: `/?page=device&id=mh-0001`; without one it is the map. Pure. */

const NAMES = [
  "health",
  "devices",
  "device",
  "reports",
  "notifications",
  "rules",
  "profiles",
  "import",
  "connect",
  "zones",
  "users",
  "access",
  "audit",
] as const;

export type PageName = (typeof NAMES)[number];

export interface Route {
  page: PageName;
  query: Readonly<Record<string, string>>;
}

/** What the address says to the console itself, whatever it shows. */
const OF_THE_CONSOLE = ["lang", "theme", "now", "wall"];

/** What an address asks for; nothing is the map. */
export function readRoute(search: string): Route | null {
  const said = [...new URLSearchParams(search)].filter(([key]) => !OF_THE_CONSOLE.includes(key));
  const { page, ...query } = Object.fromEntries(said);
  const name = NAMES.find((one) => one === page);
  return name === undefined ? null : { page: name, query };
}

/** The address of a route. */
export function writeRoute(route: Route | null): string {
  return route === null ? "/" : `/?${new URLSearchParams({ page: route.page, ...route.query })}`;
}
