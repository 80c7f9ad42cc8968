/** A link to the phone's own map. */

import type { LonLat } from "../town/geometry";

/** `geo:` as RFC 5870 has it, in WGS-84; an iPhone knows `maps:` instead. */
export function navigationLink([lon, lat]: LonLat, name: string, userAgent: string): string {
  const place = `${lat.toFixed(6)},${lon.toFixed(6)}`;
  const label = encodeURIComponent(name);
  return /iPhone|iPad|iPod/.test(userAgent) ? `maps:?daddr=${place}&q=${label}` : `geo:${place}?q=${place}(${label})`;
}
