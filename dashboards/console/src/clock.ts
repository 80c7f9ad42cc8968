/** The one door to time. `?now=<ISO time>` stops every wall clock, so that a picture is the same on every run. */

const fixed = typeof location === "undefined" ? null : new URLSearchParams(location.search).get("now");
const fixedMs = fixed === null ? Number.NaN : Date.parse(fixed);

/** Wall-clock time, milliseconds since 1970. */
export function wallMs(): number {
  return Number.isNaN(fixedMs) ? Date.now() : fixedMs;
}

/** Time that only runs forward, milliseconds since the page was opened; not stopped by `?now=`. */
export function monotonicMs(): number {
  return performance.now();
}
