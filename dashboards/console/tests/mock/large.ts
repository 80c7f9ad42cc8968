/** A town of any size for measuring: pipes between manholes on a grid of streets, car parks with 80 bays each. */

import type { AssetFeature, Kind } from "../../src/api/types";
import type { MockTown } from "./town";

const [WEST, SOUTH] = [120.43, 30.7];
const BAYS = 80;

/** `count` assets: a fifth manholes, a fifth pipes, the rest bays with their lots; spread over 11 by 10 kilometres. */
export function largeTown(count: number): MockTown {
  const features: AssetFeature[] = [];
  const add = (kind: Kind, family: "pipes" | "parking", name: string, geometry: AssetFeature["geometry"], parent: string | null = null): void => {
    const id = features.length + 1;
    features.push({
      type: "Feature", id, geometry,
      properties: {
        asset: `${kind}-${id}`, kind, family, name: { zh: `新华路${name}`, en: `Xinhua Rd ${name}` }, zone: "wuzhen", parent,
        street: "新华路", severity: 0, acknowledged: false, freshness: "fresh", grade: "good",
        state: kind === "parking-bay" ? id % 2 : null, headline: null,
      },
    });
  };
  const manholes = Math.floor(count / 5);
  const side = Math.ceil(Math.sqrt(manholes));
  const place = (n: number): [number, number] => [WEST + ((n % side) * 0.11) / side, SOUTH + (Math.floor(n / side) * 0.09) / side];
  for (let n = 0; n < manholes; n += 1) {
    add("manhole", "pipes", `${n} 号井`, { type: "Point", coordinates: place(n) });
    const next = place(n % side === side - 1 ? Math.max(0, n - side) : n + 1);
    add("pipe", "pipes", `${n} 号管`, { type: "LineString", coordinates: [place(n), next] });
  }
  for (let lot = 0; features.length < count; lot += 1) {
    const [lon, lat] = place((lot * 27) % manholes);
    const parent = `parking-lot-${features.length + 1}`;
    add("parking-lot", "parking", `${lot} 号停车场`, { type: "Point", coordinates: [lon + 2e-4, lat + 2e-4] });
    for (let bay = 0; bay < BAYS && features.length < count; bay += 1) {
      const at = [lon + 2e-4 + (bay % 20) * 3e-5, lat + 2e-4 + Math.floor(bay / 20) * 6e-5];
      add("parking-bay", "parking", `${bay} 号泊位`, { type: "Point", coordinates: at }, parent);
    }
  }
  return { features, alerts: [] };
}
