/** The shared worker: a `Fanout` behind message ports. */

import { Fanout, type PageMessage, type Subscriber } from "./fanout";
import { browserSurroundings } from "./surroundings";

const fanout = new Fanout(browserSurroundings());

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (port === undefined) return;
  const page: Subscriber = { tell: (message) => port.postMessage(message) };
  port.onmessage = ({ data }: MessageEvent<PageMessage>) => fanout.handle(page, data);
});
