// One lane a worker, one bar a shard: a straggler is seen at a glance.

import { byId, clock, colour, hideTip, showTip } from "./dom.js";
import { names } from "./workers.js";

const MOST = 5000;
const KEEP_S = 1800;
const AXIS = 22;
const bars = new Map();
let now = 0; // Unix time of what was heard last, by the server's clock
let lanes = [];
let view = null;
let dirty = true;

export function setClock(time) {
  now = time;
  dirty = true;
}

export function forgetBars() {
  bars.clear();
  dirty = true;
}

export function addBars(rows) {
  for (const [id, worker, round, shard, attempt, start, computing, sending, end, backup, outcome] of rows) {
    bars.delete(id);
    bars.set(id, { worker, round, shard, attempt, start, computing, sending, end, backup, outcome });
  }
  for (const [id, bar] of bars) {
    if (bars.size <= MOST && (bar.end === null || bar.end > now - KEEP_S)) break;
    bars.delete(id);
  }
  dirty = true;
}

// From the newest end or now back to what the user wants, or to some 25 usual bars.
function span() {
  let newest = 0;
  let open = false;
  const lengths = [];
  for (const bar of bars.values()) {
    open ||= bar.end === null;
    newest = Math.max(newest, bar.end ?? now);
    if (bar.end !== null) lengths.push(bar.end - bar.start);
  }
  const end = open || now - newest < 15 ? now : newest;
  const asked = Number(byId("window").value);
  if (asked) return [end - asked, end];
  const usual = lengths.sort((a, b) => a - b)[Math.floor(lengths.length / 2)] ?? 2;
  return [end - Math.min(Math.max(usual * 28, 5), 1800), end];
}

function draw() {
  const canvas = byId("lanes");
  const width = canvas.parentElement.clientWidth - 36;
  const [from, to] = span();
  const order = new Map();
  for (const bar of bars.values()) {
    if ((bar.end ?? to) >= from && bar.start <= to) order.set(bar.worker, names.get(bar.worker) ?? "");
  }
  for (const [id, name] of names) {
    if (document.querySelector(`[data-worker="${CSS.escape(id)}"]`)) order.set(id, name);
  }
  lanes = [...order.entries()].sort((a, b) => a[1].localeCompare(b[1], "en", { numeric: true }));
  const lane = Math.min(24, Math.max(3, Math.floor(620 / Math.max(lanes.length, 1))));
  const labelled = lane >= 13;
  const left = labelled ? Math.min(130, Math.max(64, width * 0.14)) : 8;
  const height = Math.max(40, lanes.length * lane) + AXIS;
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  view = { from, to, left, width, lane };
  const x = (time) => left + ((time - from) / (to - from)) * (width - left - 6);
  const tints = paint();
  drawAxis(pen, x, from, to, height, tints);
  lanes.forEach(([, name], index) => {
    const y = index * lane;
    pen.fillStyle = tints.lane;
    pen.fillRect(left, y + (lane > 6 ? 1 : 0), width - left - 6, lane > 6 ? lane - 2 : lane);
    if (labelled) {
      pen.fillStyle = tints.ink;
      pen.font = `${Math.min(12, lane - 2)}px system-ui, sans-serif`;
      pen.textBaseline = "middle";
      pen.fillText(fit(pen, name, left - 8), 0, y + lane / 2);
    }
  });
  const rows = new Map(lanes.map(([id], index) => [id, index]));
  for (const bar of bars.values()) {
    const row = rows.get(bar.worker);
    if (row !== undefined && (bar.end ?? to) >= from) drawBar(pen, bar, row * lane, lane, x, to, tints, left);
  }
  const under = [...bars.values()].filter((bar) => bar.end === null).length;
  canvas.setAttribute("aria-label",
    `Shards of the last ${Math.round(to - from)} seconds on ${lanes.length} workers; ${under} under way`);
}

function paint() {
  return {
    ink: colour("--ink"), muted: colour("--muted"), lane: colour("--lane"), line: colour("--line"),
    theta: colour("--theta"), adapt: colour("--adapt"), send: colour("--send"),
    backup: colour("--backup"), bad: colour("--bad"), surface: colour("--surface"),
  };
}

function drawAxis(pen, x, from, to, height, tints) {
  const steps = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
  const wanted = (to - from) / Math.max(3, (x(to) - x(from)) / 110);
  const step = steps.find((each) => each >= wanted) ?? 1200;
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = tints.muted;
  pen.strokeStyle = tints.line;
  pen.textBaseline = "alphabetic";
  for (let back = 0; to - back >= from; back += step) {
    const at = x(to - back);
    pen.beginPath();
    pen.moveTo(at, 0);
    pen.lineTo(at, height - AXIS + 4);
    pen.stroke();
    const label = back === 0 ? clock(to) : back >= 60 ? `−${back / 60} min` : `−${back} s`;
    pen.textAlign = back === 0 ? "right" : "center";
    pen.fillText(label, at, height - 5);
  }
  pen.textAlign = "left";
}

const BAD = new Set(["refused", "failed", "lost"]);

function drawBar(pen, bar, y, lane, x, to, tints, left) {
  const margin = lane > 16 ? 4 : lane > 6 ? 2 : 0.5;
  const top = y + margin;
  const tall = lane - 2 * margin;
  const end = bar.end ?? to;
  const computing = Math.min(bar.computing ?? end, end);
  const sending = Math.min(bar.sending ?? end, end);
  const piece = (from, until, tint) => {
    const start = Math.max(x(from), left);
    const stop = x(until);
    if (stop <= start && until > from) return;
    pen.fillStyle = tint;
    pen.fillRect(start, top, Math.max(stop - start - 0.6, 1), tall);
  };
  const bad = BAD.has(bar.outcome);
  if (bar.computing === null || computing > bar.start) piece(bar.start, computing, tints.theta);
  const main = bad ? tints.bad : bar.backup ? tints.backup : tints.adapt;
  pen.globalAlpha = bar.outcome === "revoked" || bar.outcome === "returned" ? 0.4 : 1;
  if (sending > computing) piece(computing, sending, main);
  if (bar.sending !== null && end > sending) piece(sending, end, tints.send);
  pen.globalAlpha = 1;
  if ((bar.backup || bar.attempt > 1) && tall > 6) outline(pen, x, bar, end, top, tall, tints, left);
  if (bad && tall > 5) cross(pen, x(end), top, tall, tints);
}

// Backups and re-runs have a frame, so that they show without colour.
function outline(pen, x, bar, end, top, tall, tints, left) {
  const start = Math.max(x(bar.start), left);
  pen.strokeStyle = tints.ink;
  pen.lineWidth = 1;
  pen.setLineDash(bar.backup ? [3, 2] : []);
  pen.strokeRect(start + 0.5, top + 0.5, Math.max(x(end) - start - 1.6, 1), tall - 1);
  pen.setLineDash([]);
}

function cross(pen, at, top, tall, tints) {
  pen.strokeStyle = tints.ink;
  pen.lineWidth = 1.5;
  const r = Math.min(4, tall / 3);
  const middle = top + tall / 2;
  for (const sign of [-1, 1]) {
    pen.beginPath();
    pen.moveTo(at - 6 - r, middle - sign * r);
    pen.lineTo(at - 6 + r, middle + sign * r);
    pen.stroke();
  }
}

function fit(pen, name, width) {
  if (pen.measureText(name).width <= width) return name;
  let shown = name;
  while (shown.length > 2 && pen.measureText(`${shown}…`).width > width) shown = shown.slice(0, -1);
  return `${shown}…`;
}

function tipFor(event) {
  if (!view) return;
  const box = byId("lanes").getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top) / view.lane);
  const [worker, name] = lanes[row] ?? [];
  const time = view.from
    + ((event.clientX - box.left - view.left) / (view.width - view.left - 6)) * (view.to - view.from);
  const slack = (view.to - view.from) / (view.width - view.left) * 2;
  const bar = [...bars.values()].reverse().find((each) => each.worker === worker
    && each.start - slack <= time && (each.end ?? view.to) + slack >= time);
  if (!worker) { hideTip(); return; }
  if (!bar) { showTip(name, event.clientX, event.clientY); return; }
  const kind = bar.backup ? "backup" : bar.attempt > 1 ? `attempt ${bar.attempt}` : "";
  const how = bar.outcome === "open" ? "under way" : bar.outcome === "ended" ? "ended" : bar.outcome;
  const length = ((bar.end ?? view.to) - bar.start).toFixed(2);
  showTip(`${name}\nround ${bar.round}, shard ${bar.shard}${kind ? `, ${kind}` : ""}\n${how}, ${length} s`,
    event.clientX, event.clientY);
}

const canvas = byId("lanes");
canvas.addEventListener("pointermove", tipFor);
canvas.addEventListener("pointerleave", hideTip);
byId("window").addEventListener("change", () => { dirty = true; });
addEventListener("resize", () => { dirty = true; });
setInterval(() => {
  if (!dirty || byId("timeline").hidden || document.hidden) return;
  dirty = false;
  draw();
}, 100);
