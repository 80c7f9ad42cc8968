/** The pages beside the map: who may open each, and where it lies. Each is loaded when it is first opened. */

import type { Component } from "svelte";
import type { Right } from "../api/types";
import type { Console } from "../console.svelte";
import type { PageName } from "./route";

/** What every page is given. */
export interface PageProps {
  hub: Console;
  /** What the address says besides the page's name; a page changes it by `hub.openPage`. */
  query: Readonly<Record<string, string>>;
}

interface Page {
  /** In which part of the menu it stands; pages of nothing are reached from elsewhere. */
  group: "look" | "set" | "account" | null;
  /** One of these is enough. */
  rights: readonly Right[];
  load: () => Promise<{ default: Component<PageProps> }>;
}

export const PAGES = {
  health: { group: "look", rights: ["view"], load: () => import("./health/HealthPage.svelte") },
  devices: { group: "look", rights: ["view"], load: () => import("./devices/DevicesPage.svelte") },
  device: { group: null, rights: ["view"], load: () => import("./device/DevicePage.svelte") },
  reports: { group: "look", rights: ["view"], load: () => import("./reports/ReportsPage.svelte") },
  notifications: { group: "look", rights: ["view"], load: () => import("./notifications/NotificationsPage.svelte") },
  rules: { group: "set", rights: ["view"], load: () => import("./rules/RulesPage.svelte") },
  profiles: { group: "set", rights: ["view"], load: () => import("./profiles/ProfilesPage.svelte") },
  connect: { group: "set", rights: ["engineer"], load: () => import("./connect/ConnectPage.svelte") },
  import: { group: "set", rights: ["engineer"], load: () => import("./import/ImportPage.svelte") },
  zones: { group: "set", rights: ["view"], load: () => import("./zones/ZonesPage.svelte") },
  users: { group: "account", rights: ["administer"], load: () => import("./users/UsersPage.svelte") },
  access: { group: "account", rights: ["view"], load: () => import("./access/AccessPage.svelte") },
  audit: { group: "account", rights: ["supervise"], load: () => import("./audit/AuditPage.svelte") },
} satisfies Record<PageName, Page> as Record<PageName, Page>;
