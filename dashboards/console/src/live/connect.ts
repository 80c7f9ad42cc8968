/** A page's line to the feed: through the shared worker where there is one, else a stream of its own. */

import { Fanout, type FeedMessage, type PageMessage } from "./fanout";
import { browserSurroundings } from "./surroundings";

export interface FeedLine {
  ask(message: PageMessage): void;
  close(): void;
}

/** How often a page says that it is still there, in milliseconds. */
const HERE_MS = 30_000;

/** Joins the feed; `tell` gets every message. */
export function connect(tell: (message: FeedMessage) => void): FeedLine {
  const ask = viaWorker(tell) ?? viaPage(tell);
  const timer = setInterval(() => ask({ ask: "here" }), HERE_MS);
  const leave = (): void => ask({ ask: "leave" });
  // The worker is not told when a page goes away.
  addEventListener("pagehide", leave);
  return {
    ask,
    close() {
      clearInterval(timer);
      removeEventListener("pagehide", leave);
      leave();
    },
  };
}

type Ask = FeedLine["ask"];

function viaWorker(tell: (message: FeedMessage) => void): Ask | null {
  if (typeof SharedWorker === "undefined") return null;
  const asked: PageMessage[] = [];
  let send: Ask;
  try {
    const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), {
      type: "module",
      name: "townhub-live",
    });
    worker.port.onmessage = ({ data }: MessageEvent<FeedMessage>) => tell(data);
    send = (message) => worker.port.postMessage(message);
    // A worker whose script cannot be had (an upgrade in between, a strict proxy) is replaced by a stream of our own.
    worker.onerror = () => {
      send = viaPage(tell);
      asked.forEach(send);
    };
  } catch {
    return null;
  }
  return (message) => {
    if (message.ask !== "here") {
      // Only the newest of a kind counts, should it have to be asked again.
      const old = asked.findIndex((earlier) => earlier.ask === message.ask);
      if (old >= 0) asked.splice(old, 1);
      asked.push(message);
    }
    send(message);
  };
}

function viaPage(tell: (message: FeedMessage) => void): Ask {
  const fanout = new Fanout(browserSurroundings());
  const page = { tell };
  return (message) => fanout.handle(page, message);
}
