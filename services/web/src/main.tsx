/** The composition root: builds the parts from what the browser gives and draws the page. */
import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/parts.css";
import "./styles/tables.css";
import "./styles/dialogs.css";
import "./styles/model.css";
import { Api } from "./api";
import { Live } from "./live";
import { App } from "./ui/app";

const address = new URL("/api/ws", location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const live = new Live({
  open: (url) => new WebSocket(url),
  url: address.href,
  now: () => Date.now(),
  random: () => Math.random(),
  setTimer: (run, milliseconds) => window.setTimeout(run, milliseconds),
  clearTimer: (timer) => window.clearTimeout(timer),
});

window.addEventListener("online", () => live.nudge());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) live.nudge();
});
live.start();

const root = document.getElementById("app");
if (root === null) throw new Error("#app is missing");
render(<App api={new Api()} live={live} />, root);
