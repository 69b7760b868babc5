// The run's headline, and the table of runs that are compared.

import { byId, make, number, text } from "./dom.js";

export function showRun(run) {
  document.title = run.iterations
    ? `${Math.floor((100 * run.iteration) / run.iterations)} % · ${run.name} · mlpeft`
    : `${run.name || "no run"} · mlpeft`;
  text("run-name", run.name);
  const state = text("state", run.state);
  state.className = `chip ${run.level}`;
  text("iteration", run.iteration === undefined ? "–" : number(run.iteration));
  text("iterations", run.iterations ? `of ${number(run.iterations)} meta-iterations` : "");
  const bar = byId("progress");
  bar.max = run.iterations || 1;
  bar.value = run.iteration || 0;
  const running = run.left && run.left !== "-:--" && run.iteration < run.iterations;
  text("eta", running ? `${run.left} left` : "");
  text("speed", run.speed || "–");
  text("loss", run.loss || "–");
  text("loss-name", run.loss_name ? `Training ${run.loss_name}` : "Loss");
  text("validation", run.validation || "–");
  text("score-name", run.score_name || "accuracy");
  text("validation-at", run.validation_at === undefined ? "" : `after ${number(run.validation_at)}`);
  text("best", run.best || "–");
  text("best-at", run.best_at === undefined ? "" : `after ${number(run.best_at)}`);
  text("outer-lr", run.outer_lr || "–");
  const saved = run.checkpoint;
  text("checkpoint", saved ? number(saved.at) : "–");
  text("risk", saved ? [saved.age, saved.risk].filter(Boolean).join("; ") : "");
  showFacts(run.facts || []);
}

function showFacts(facts) {
  const list = byId("facts");
  const key = JSON.stringify(facts);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...facts.map(([name, value]) => {
    const row = make("div");
    row.append(make("dt", "", name), make("dd", "", value));
    return row;
  }));
}

export function showCompared(runs) {
  byId("compare").hidden = runs.length < 2;
  byId("runs").replaceChildren(...runs.map((run) => {
    const row = make("tr");
    const name = make("th", "", run.name);
    name.scope = "row";
    row.append(name, make("td", "", number(run.iteration)), make("td", "", run.loss),
      make("td", "", run.best), make("td", "", run.facts));
    return row;
  }));
}
