/** The stream as this browser can have it: shared by all tabs through a SharedWorker, or a websocket of the tab's own. */
import type { Line, LineOwner } from "./line";
import { browserParts, LiveSocket } from "./socket";
import { SharedLine } from "./switchboard";

/** Chrome on Android has no SharedWorker, and some settings forbid it: such a tab opens its own websocket. */
export function browserLine(owner: LineOwner, page: Window & typeof globalThis = window): Line {
  const own = () => new LiveSocket(browserParts(page), owner);
  let line: Line;
  try {
    const worker = new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module", name: "trainyard" });
    let heard = false;
    line = new SharedLine(worker.port, {
      ...owner,
      onConnection: (connection) => {
        heard = true;
        owner.onConnection(connection);
      },
    });
    worker.onerror = () => {
      if (heard) return; // it runs: this is no failure to begin
      line = own();
      line.start();
    };
  } catch {
    line = own();
  }
  return {
    start: () => line.start(),
    restart: () => line.restart(),
    nudge: () => line.nudge(),
    stop: () => line.stop(),
  };
}
