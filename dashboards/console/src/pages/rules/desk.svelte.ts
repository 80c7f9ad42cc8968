/** What every part of the rules' page needs to know: zones, devices and points by their names; read once. */

import { hubApi, type Schemas } from "../../api/hub";
import type { Label } from "../../api/types";
import { labelText } from "../../format";
import type { Language } from "../../i18n";
import { Remote } from "../remote.svelte";
import type { Effective } from "./rule";

export type Point = Schemas["ProfilePoint"];

export interface Known {
  zones: ReadonlyMap<string, Label>;
  devices: ReadonlyMap<string, Schemas["DeviceSummary"]>;
  /** By profile and metric. */
  points: ReadonlyMap<string, Point>;
}

const MAX_DEVICES = 10_000;
/** Points are told by name where there are not too many models to ask for. */
const MAX_PROFILES = 60;

const NOTHING: Known = { zones: new Map(), devices: new Map(), points: new Map() };

export class Desk {
  readonly known = new Remote(readKnown);

  get(): Known {
    return this.known.value ?? NOTHING;
  }

  deviceName(id: string, language: Language): string {
    const device = this.get().devices.get(id);
    return device === undefined ? id : labelText(device.name, language);
  }

  zoneName(id: string, language: Language): string {
    const zone = this.get().zones.get(id);
    return zone === undefined ? id : labelText(zone, language);
  }

  point(device: string, metric: string | null): Point | null {
    const profile = this.get().devices.get(device)?.profile;
    return (profile !== undefined && metric !== null && this.get().points.get(`${profile}/${metric}`)) || null;
  }

  metricName(device: string, metric: string, language: Language): string {
    const point = this.point(device, metric);
    return point === null ? metric : labelText(point.label, language);
  }

  pointsOf(device: string): Point[] {
    const profile = this.get().devices.get(device)?.profile;
    return profile === undefined ? [] : [...this.get().points].filter(([key]) => key.startsWith(`${profile}/`)).map(([, point]) => point);
  }
}

async function readKnown(): Promise<Known> {
  const [zones, devices] = await Promise.all([
    hubApi.get("/api/v1/zones"),
    hubApi.get("/api/v1/devices", { query: { limit: MAX_DEVICES } }),
  ]);
  const used = [...new Set(devices.devices.map(({ profile }) => profile))].slice(0, MAX_PROFILES);
  // A model that has just been withdrawn only leaves its points without names.
  const models = await Promise.allSettled(used.map((id) => hubApi.get("/api/v1/profiles/{id}", { path: { id } })));
  const points = new Map<string, Point>();
  for (const model of models) {
    if (model.status !== "fulfilled") continue;
    for (const point of model.value.points_in_full ?? []) points.set(`${model.value.id}/${point.name}`, point);
  }
  return {
    zones: new Map(zones.features.map(({ properties }) => [properties.zone, properties.name])),
    devices: new Map(devices.devices.map((device) => [device.id, device])),
    points,
  };
}

/** A page of rules is of this many devices. */
export const RULE_DEVICES = 2_000;

export interface RulePage {
  rules: Effective[];
  nextAfter: string | null;
}

/** Rules of the devices of a zone or a kind, behind those that are here already. */
export async function readRules(scope: { device?: string; zone?: string; kind?: string }, before: RulePage | null = null): Promise<RulePage> {
  const answer = await hubApi.get("/api/v1/rules", {
    query: { ...scope, limit: RULE_DEVICES, ...(before?.nextAfter ? { after: before.nextAfter } : {}) },
  });
  return { rules: [...(before?.rules ?? []), ...answer.rules], nextAfter: answer.next_after };
}
