// A tile for each worker, sorted by what needs attention, and who is connected to whom.

import { byId, clock, hideTip, make, makeSvg, number, showTip, text } from "./dom.js";
import { canSteer, tools } from "./steer.js";

const DENSE = 40; // more workers than this get smaller tiles,
const FEW = 24; // of which so many are shown, and all that need attention
let all = false;
const tiles = new Map();
export const names = new Map();
let order = "";

byId("all-workers").addEventListener("click", () => {
  all = !all;
  for (const node of byId("tiles").children) node.dataset.key = "";
  showWorkers(Object.fromEntries(tiles));
});

export function forgetWorkers() {
  tiles.clear();
  order = "";
}

export function showWorkers(changed) {
  for (const [id, tile] of Object.entries(changed)) {
    if (tile === null) tiles.delete(id);
    else {
      tiles.set(id, tile);
      names.set(id, tile.name);
    }
  }
  const sorted = [...tiles.entries()].sort(([, a], [, b]) =>
    Math.max(b.level, 1) - Math.max(a.level, 1) || a.name.localeCompare(b.name, "en", { numeric: true }));
  const list = byId("tiles");
  list.classList.toggle("dense", sorted.length > DENSE);
  const dense = sorted.length > DENSE;
  const shown = dense && !all ? sorted.filter(([, tile], index) => index < FEW || tile.level >= 3) : sorted;
  const more = byId("all-workers");
  more.hidden = !dense;
  more.textContent = all ? "Show fewer" : `Show all ${sorted.length}`;
  const ids = shown.map(([id]) => id);
  const present = new Map([...list.children].map((node) => [node.dataset.worker, node]));
  const nodes = shown.map(([id, tile]) => {
    const old = present.get(id);
    if (old && !(id in changed)) return old;
    const key = JSON.stringify(tile);
    if (old?.dataset.key === key) return old;
    return fill(old ?? make("li"), id, tile, key);
  });
  const wanted = ids.join(" ");
  if (wanted !== order || nodes.length !== list.children.length) {
    order = wanted;
    list.replaceChildren(...nodes);
  }
  sum(sorted.map(([, tile]) => tile));
  topology(sorted);
}

function sum(all) {
  const working = all.filter((tile) => tile.state === "working").length;
  const trouble = all.filter((tile) => tile.level >= 3).length;
  const done = all.reduce((total, tile) => total + tile.done, 0);
  const failed = all.reduce((total, tile) => total + tile.failed, 0);
  const words = [`${all.length} connected`, `${working} working`];
  if (trouble) words.push(`${trouble} need${trouble === 1 ? "s" : ""} attention`);
  words.push(`${number(done)} shards done`, `${number(failed)} failed and done again`);
  text("workers-sum", words.join(" · "));
}

function fill(node, id, tile, key) {
  node.className = `tile l${tile.level}`;
  node.dataset.worker = id;
  node.dataset.key = key;
  const head = make("header");
  head.append(make("h3", "", tile.name), make("span", "state", tile.state));
  head.firstChild.title = tile.name;
  const numbers = make("p", "numbers");
  numbers.append(
    figure(number(tile.done), "done"),
    figure(number(tile.failed), "failed", tile.failed ? "" : "extra"),
    figure(tile.speed ? `${tile.speed}/s` : "–", "tasks"),
    figure(tile.lag ? `${tile.lag} s` : "< 2 s", "lag", "extra"),
    figure(tile.up, "up", "extra"),
    figure(tile.down, "down", "extra"),
  );
  const parts = [head, make("p", "device", tile.device), make("p", "reason", tile.reason)];
  const share = tile.sending ?? tile.receiving ?? (tile.part && tile.part[1] > 1 ? tile.part[0] / tile.part[1] : null);
  if (share !== null) {
    const meter = make("meter");
    meter.value = share;
    meter.setAttribute("aria-label", "Part that is done");
    parts.push(meter);
  }
  parts.push(numbers);
  const buttons = canSteer() && (all || tiles.size <= DENSE || tile.level >= 3) ? tools(tile) : null;
  // A button that has the focus stays: the tile is filled again every second.
  const focused = node.contains(document.activeElement) ? document.activeElement.textContent : null;
  if (buttons) parts.push(buttons);
  node.replaceChildren(...parts);
  if (focused) [...node.querySelectorAll("button")].find((b) => b.textContent === focused)?.focus();
  return node;
}

function figure(value, label, className = "") {
  const node = make("span", className);
  node.append(make("b", "", value), ` ${label}`);
  return node;
}

export function showDeparted(departed) {
  for (const worker of departed) names.set(worker.worker, worker.name);
  const box = byId("departed");
  box.hidden = !departed.length;
  box.querySelector("summary").textContent =
    `${departed.length} ${departed.length === 1 ? "worker" : "workers"} left`;
  box.querySelector("ul").replaceChildren(...departed.map((worker) => {
    const node = make("li", "tile");
    const head = make("header");
    head.append(make("h3", "", worker.name), make("span", "state", `left ${clock(worker.time)}`));
    node.append(head, make("p", "device", worker.device), make("p", "reason", worker.reason));
    if (worker.done !== null) node.append(make("p", "numbers", `${number(worker.done)} shards done`));
    return node;
  }));
}

function topology(sorted) {
  const box = byId("topology");
  const width = Math.max(300, box.clientWidth);
  const few = sorted.length <= Math.max(3, Math.floor((width - 150) / 84));
  const svg = few ? star(sorted, width) : dots(sorted, width);
  box.setAttribute("aria-label",
    `The coordinator and ${sorted.length} workers; ${sorted.filter(([, t]) => t.sending !== null).length} receive theta, `
    + `${sorted.filter(([, t]) => t.receiving !== null).length} send an update`);
  box.replaceChildren(svg);
}

function head(svg, height) {
  svg.append(
    makeSvg("rect", { class: "head", x: 2, y: height / 2 - 20, width: 104, height: 40, rx: 9 }),
    makeSvg("text", { x: 54, y: height / 2 + 4, "text-anchor": "middle" }, "coordinator"),
  );
}

function star(sorted, width) {
  const height = 88;
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const step = (width - 130) / Math.max(sorted.length, 1);
  const bus = 12;
  const wire = (tile, d) => {
    const kind = tile.sending !== null ? " down" : tile.receiving !== null ? " up" : "";
    svg.append(makeSvg("path", { class: `wire${kind}`, d }));
  };
  // Those that move bytes are drawn last, over the common part of the wires.
  const still = ([, tile]) => (tile.sending === null && tile.receiving === null ? 0 : 1);
  const placed = sorted.map((each, index) => [each, 130 + step * (index + 0.5)]);
  for (const [[, tile], x] of [...placed].sort((a, b) => still(a[0]) - still(b[0]))) {
    wire(tile, `M54 ${height / 2 - 20}V${bus + 8}Q54 ${bus} 62 ${bus}H${x - 8}Q${x} ${bus} ${x} ${bus + 8}V34`);
  }
  for (const [[, tile], x] of placed) {
    svg.append(node(tile, x, 44, 9));
    svg.append(makeSvg("text", { x, y: 70, "text-anchor": "middle" }, shorten(tile.name, step / 7)));
    svg.append(makeSvg("text", { class: "small", x, y: 84, "text-anchor": "middle" }, tile.state));
  }
  head(svg, height);
  return svg;
}

function dots(sorted, width) {
  const columns = Math.max(1, Math.floor((width - 140) / 20));
  const rows = Math.ceil(sorted.length / columns);
  const height = Math.max(52, rows * 20 + 8);
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  svg.append(makeSvg("path", { class: "wire", d: `M106 ${height / 2}H124V6V${height - 6}` }));
  sorted.forEach(([, tile], index) => {
    const x = 140 + (index % columns) * 20;
    const y = 14 + Math.floor(index / columns) * 20;
    svg.append(node(tile, x, y, 7));
  });
  head(svg, height);
  return svg;
}

function node(tile, x, y, r) {
  const moving = tile.sending ?? tile.receiving;
  const group = makeSvg("g", {});
  // Trouble is a square: it shows without colour, too.
  group.append(tile.level >= 3
    ? makeSvg("rect", { class: `node l${tile.level}`, x: x - r, y: y - r, width: 2 * r, height: 2 * r, rx: 2 })
    : makeSvg("circle", { class: `node l${tile.level}`, cx: x, cy: y, r }));
  if (moving !== null) {
    const part = moving * 2 * Math.PI * (r + 3);
    group.append(makeSvg("circle", {
      class: `wire ${tile.sending !== null ? "down" : "up"}`, cx: x, cy: y, r: r + 3,
      "stroke-dasharray": `${part} 999`,
    }));
  }
  group.addEventListener("pointermove", (event) =>
    showTip(`${tile.name}: ${tile.state}\n${tile.reason}`, event.clientX, event.clientY));
  group.addEventListener("pointerleave", hideTip);
  return group;
}

const shorten = (name, length) =>
  name.length > Math.max(5, length) ? `${name.slice(0, Math.max(4, length - 1))}…` : name;
