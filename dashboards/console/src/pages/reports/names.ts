/** What the keys of groups are called. Pure. */

import type { Schemas } from "../../api/hub";
import type { Label } from "../../api/types";
import { labelText } from "../../format";
import { words, type Language, type Word } from "../../i18n";
import { timeKeyText, type Division } from "./period";
import { reportWords } from "./words";

/** The town's own names, by id. */
export interface Names {
  zones: ReadonlyMap<string, Label>;
  units: ReadonlyMap<string, Label>;
}

export const NO_NAMES: Names = { zones: new Map(), units: new Map() };

export function readNames(zones: Schemas["Zones"], units: readonly { id: string; name: Label }[]): Names {
  return {
    zones: new Map(zones.features.map(({ properties }) => [properties.zone, properties.name])),
    units: new Map(units.map(({ id, name }) => [id, name])),
  };
}

/** A group's name: what is gone from the town keeps its id. */
export function groupName(by: Division, key: string | null, names: Names, language: Language): string {
  switch (by) {
    case "zone":
    case "unit": {
      if (key === null) return reportWords(language)(`none.${by}`);
      const label = (by === "zone" ? names.zones : names.units).get(key);
      return label === undefined ? key : labelText(label, language);
    }
    case "kind":
    case "severity":
      return key === null ? reportWords(language)(`none.${by}`) : words(language)(`${by}.${key}` as Word);
    default:
      return key === null ? "—" : timeKeyText(key, language);
  }
}
