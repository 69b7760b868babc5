// Charts come drawn from the server; here they get a cursor, values and zoom.

import { byId, hideTip, makeSvg, number, showTip } from "./dom.js";

const cards = [...document.querySelectorAll("[data-chart]")];
const versions = new Map();
let version = "";
let range = null;
let dragging = null;
// Every few seconds in the first minute of a page, then less often: curves change slowly.
const every = () => (performance.now() < 60_000 ? 3000 : 10_000);
let drawnAt = 0;
let waiting = null;

export function refreshCharts(measured) {
  version = JSON.stringify(measured);
  if (waiting) return;
  const wait = Math.max(0, drawnAt + every() - Date.now());
  waiting = setTimeout(() => {
    waiting = null;
    drawnAt = Date.now();
    for (const card of cards) load(card);
  }, wait);
}

function load(card) {
  const plot = card.querySelector(".plot");
  const query = new URLSearchParams({ width: Math.max(260, Math.floor(plot.clientWidth)) });
  const log = card.querySelector("[data-log]");
  if (log?.checked) query.set("log", "1");
  if (range && card.dataset.chart !== "adaptation") {
    query.set("from", range[0]);
    query.set("to", range[1]);
  }
  const key = `${version}?${query}`;
  if (versions.get(card) === key || dragging) return;
  versions.set(card, key);
  const request = new XMLHttpRequest(); // parses it as a document: no markup from text
  request.open("GET", `chart/${card.dataset.chart}.svg?${query}`);
  request.responseType = "document";
  request.overrideMimeType("image/svg+xml");
  request.onload = () => {
    const drawn = request.status === 200 && request.responseXML?.documentElement;
    if (!drawn || versions.get(card) !== key) return;
    plot.replaceChildren(document.importNode(drawn, true));
    listen(plot);
  };
  request.onerror = () => versions.delete(card);
  request.send();
}

function listen(plot) {
  const svg = plot.firstElementChild;
  if (!svg.dataset.chart) return;
  const chart = JSON.parse(svg.dataset.chart);
  const zoomable = plot.parentElement.dataset.chart !== "adaptation";
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return ((event.clientX - box.left) * svg.viewBox.baseVal.width) / box.width;
  };
  const value = (x) => chart.x[0]
    + ((x - chart.left) / (chart.right - chart.left)) * (chart.x[1] - chart.x[0]);
  svg.addEventListener("pointermove", (event) => {
    const x = Math.min(chart.right, Math.max(chart.left, at(event)));
    if (dragging?.svg === svg) select(svg, chart, dragging.from, x);
    else point(svg, chart, x, value(x), event);
  });
  svg.addEventListener("pointerleave", () => {
    if (dragging?.svg !== svg) clear(svg);
  });
  svg.addEventListener("pointerdown", (event) => {
    if (!zoomable || event.pointerType === "touch" || event.button !== 0) return;
    dragging = { svg, from: Math.min(chart.right, Math.max(chart.left, at(event))) };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointerup", (event) => {
    if (dragging?.svg !== svg) return;
    const ends = [dragging.from, Math.min(chart.right, Math.max(chart.left, at(event)))];
    dragging = null;
    clear(svg);
    if (Math.abs(ends[1] - ends[0]) > 8) zoom(ends.map(value).sort((a, b) => a - b));
  });
  svg.addEventListener("dblclick", () => zoom(null));
}

function point(svg, chart, x, value, event) {
  clear(svg, true);
  const layer = makeSvg("g", { class: "hover", "aria-hidden": "true" });
  const rows = [];
  let shownAt = null;
  for (const series of chart.series) {
    const index = nearest(series.x, value);
    if (index < 0 || series.y[index] === null) continue;
    const px = chart.left
      + ((series.x[index] - chart.x[0]) / (chart.x[1] - chart.x[0])) * (chart.right - chart.left);
    shownAt ??= [series.x[index], px];
    const half = series.half[index];
    rows.push(`${series.name}: ${series.y[index]}${half ? ` ± ${half}` : ""}`);
    const dots = makeSvg("g", { class: series.style });
    dots.append(makeSvg("circle", { class: "dot", cx: px, cy: series.py[index], r: 4.5 }));
    layer.append(dots);
  }
  if (!shownAt) return;
  layer.prepend(makeSvg("line", {
    class: "cursor", x1: shownAt[1], x2: shownAt[1], y1: chart.top, y2: chart.bottom,
  }));
  svg.append(layer);
  showTip([`at ${number(Math.round(shownAt[0]))}`, ...rows].join("\n"), event.clientX, event.clientY);
}

function nearest(values, wanted) {
  let best = -1;
  for (let i = 0; i < values.length; i += 1) {
    if (best < 0 || Math.abs(values[i] - wanted) < Math.abs(values[best] - wanted)) best = i;
  }
  return best;
}

function select(svg, chart, from, to) {
  clear(svg);
  svg.append(makeSvg("rect", {
    class: "hover zoom", x: Math.min(from, to), y: chart.top,
    width: Math.abs(to - from), height: chart.bottom - chart.top,
  }));
}

function clear(svg, keepTip) {
  for (const node of svg.querySelectorAll(".hover")) node.remove();
  if (!keepTip) hideTip();
}

function zoom(wanted) {
  range = wanted;
  byId("unzoom").hidden = !range;
  for (const card of cards) load(card);
}

byId("unzoom").addEventListener("click", () => zoom(null));
for (const box of document.querySelectorAll("[data-log]")) {
  box.addEventListener("change", () => load(box.closest("[data-chart]")));
}
let resizing = null;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => cards.forEach(load), 200);
});
