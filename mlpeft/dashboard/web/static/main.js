// Keeps the page up to date from server-sent events, and says when there are none.

import { byId, text } from "./dom.js";
import { showRun, showCompared } from "./run.js";
import { refreshCharts } from "./charts.js";
import { forgetWorkers, showWorkers, showDeparted } from "./workers.js";
import { addBars, forgetBars, setClock } from "./timeline.js";
import { addLines, forgetLines } from "./log.js";
import { setRun } from "./steer.js";

const HIDDEN_MS = 60_000; // a page that nobody sees for so long stops looking
const SILENT_MS = 8_000;
let stream = null;
let heardAt = 0;
let hiddenTimer = null;

function take(event) {
  const shown = JSON.parse(event.data);
  heardAt = Date.now();
  setClock(shown.now);
  if (shown.whole) {
    forgetWorkers();
    forgetBars();
    forgetLines();
  }
  if (shown.source) showSource(shown.source);
  if (shown.run) {
    showRun(shown.run);
    setRun(shown.run);
  }
  if (shown.runs) showCompared(shown.runs);
  if (shown.question) showQuestion(shown.question);
  if (shown.workers || shown.whole) showWorkers(shown.workers ?? {});
  if (shown.departed) showDeparted(shown.departed);
  if (shown.bars) addBars(shown.bars);
  if (shown.log) addLines(shown.log);
  if (shown.charts) refreshCharts(shown.charts);
  link();
}

function showSource(source) {
  for (const node of document.querySelectorAll("[data-cluster]")) {
    if (node.id !== "question") node.hidden = !source.cluster;
  }
  source.gone ? gone(source) : byId("question").classList.remove("problem");
  text("timeline-note", source.sampled
    ? "Sampled once a second: shorter shards are seen only in part. The coordinator's own page (--dashboard) sees all."
    : "");
}

function gone(source) {
  const node = byId("question");
  node.hidden = false;
  node.className = "question problem";
  node.textContent = `${source.gone} for ${source.gone_s} s; what follows is what was seen last`;
}

function showQuestion(question) {
  const node = byId("question");
  if (node.classList.contains("problem")) return;
  node.hidden = !question.text;
  node.className = `question ${question.level}`;
  node.textContent = question.text;
}

function link() {
  const silent = Date.now() - heardAt;
  const live = stream && stream.readyState === EventSource.OPEN && silent < SILENT_MS;
  const node = byId("link");
  node.className = `link ${live ? "live" : "broken"}`;
  const words = live ? "live" : heardAt ? `no connection for ${Math.round(silent / 1000)} s` : "connecting";
  if (node.textContent !== words) node.textContent = words;
}

function connect() {
  stream?.close();
  stream = new EventSource("events");
  stream.onmessage = take;
  stream.onerror = () => {
    link();
    // A refused connection ends the stream for good; the server may come back.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("mlpeft-theme", root.dataset.theme); } catch { /* not stored */ }
}

try {
  const kept = localStorage.getItem("mlpeft-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* not stored */ }
byId("theme").addEventListener("click", theme);
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) hiddenTimer = setTimeout(() => { stream?.close(); stream = null; }, HIDDEN_MS);
  else if (!stream) connect();
});
setInterval(link, 1000);
connect();
