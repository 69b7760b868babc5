// The log's newest lines, filtered here.

import { byId, clock, make } from "./dom.js";

const MOST = 400;
const SEVERITY = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 };
let lines = [];

export function forgetLines() {
  lines = [];
}

export function addLines(added) {
  const newest = lines.length ? lines[lines.length - 1].n : 0;
  const fresh = added.filter((line) => line.n > newest);
  if (!fresh.length && lines.length) return;
  lines = lines.concat(fresh).slice(-MOST);
  show();
}

function show() {
  const least = Number(byId("level").value);
  const wanted = byId("filter").value.trim().toLowerCase();
  const list = byId("lines");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  const chosen = lines.filter((line) => (SEVERITY[line.level] ?? 20) >= least
    && (!wanted || `${line.worker} ${line.text}`.toLowerCase().includes(wanted)));
  const nodes = chosen.map((line) => {
    const node = make("li");
    const time = make("time", "", clock(line.time));
    time.dateTime = new Date(line.time * 1000).toISOString();
    node.append(time, make("span", `level ${line.level}`, line.level.toLowerCase()),
      make("span", "text", line.text));
    return node;
  });
  if (!nodes.length) nodes.push(make("li", "none", lines.length ? "No line matches." : "No log yet."));
  list.replaceChildren(...nodes);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

byId("level").addEventListener("change", show);
byId("filter").addEventListener("input", show);
show();
