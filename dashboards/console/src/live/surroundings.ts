/** The browser as the fan-out sees it, in a page or in a worker. */

import type { Surroundings } from "./fanout";

export function browserSurroundings(): Surroundings {
  return {
    open: (url) => new EventSource(url),
    nowMs: () => performance.now(),
    after(ms, act) {
      const timer = setTimeout(act, ms);
      return () => clearTimeout(timer);
    },
  };
}
