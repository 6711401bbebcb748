/** The composition root of the SharedWorker that holds the websocket of all tabs. */
/// <reference lib="webworker" />
import { browserParts, LiveSocket } from "./socket";
import { type FromTab, Switchboard } from "./switchboard";

declare const self: SharedWorkerGlobalScope;

const board = new Switchboard(
  (owner) => new LiveSocket(browserParts(self), owner),
  () => Date.now(),
);

self.onconnect = ({ ports: [port] }) => {
  if (port === undefined) return;
  port.onmessage = ({ data }: MessageEvent<FromTab>) => board.hear(port, data);
};
