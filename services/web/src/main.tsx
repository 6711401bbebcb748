/** The composition root: builds the parts from what the browser gives and draws the page. */
import { render } from "preact";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/parts.css";
import "./styles/tables.css";
import "./styles/forms.css";
import "./styles/model.css";
import { Api } from "./api";
import { browserLine } from "./browser-line";
import { Live } from "./live";
import { Uploader } from "./sending";
import { Sight } from "./sight";
import { Themes } from "./theme";
import { Ticker } from "./ticker";
import { App } from "./ui/app";

const live = new Live({
  open: (owner) => browserLine(owner),
  now: () => Date.now(),
  // A hidden tab draws no frames: its title and announcements still have to follow.
  soon: (run) => void (document.hidden ? setTimeout(run, 0) : requestAnimationFrame(run)),
});
const ticker = new Ticker({
  now: () => live.serverNow(),
  setTimer: (run, milliseconds) => window.setTimeout(run, milliseconds),
  clearTimer: (timer) => window.clearTimeout(timer),
});

const themes = new Themes({
  root: document.documentElement,
  system: matchMedia("(prefers-color-scheme: dark)"),
  storage: () => localStorage,
  window,
});

const api = new Api();
const uploader = new Uploader({
  api,
  onImported: (imported) => live.addDataset(imported.dataset),
  wait: (milliseconds) => new Promise((done) => window.setTimeout(done, milliseconds)),
  now: () => performance.now(),
});

window.addEventListener("online", () => live.nudge());
window.addEventListener("pagehide", () => live.stop());
window.addEventListener("pageshow", (event) => {
  if (event.persisted) live.start();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) live.nudge();
});
live.start();

const root = document.getElementById("app");
if (root === null) throw new Error("#app is missing");
render(<App api={api} live={live} ticker={ticker} sight={new Sight()} themes={themes} uploader={uploader} />, root);
