// Operators' buttons: each asks once, and says what happened.

import { byId, make, text } from "./dom.js";

const content = (name) => document.querySelector(`meta[name="${name}"]`).content;
const allowed = content("mlpeft-steering") === "yes";
const QUESTIONS = {
  pause: () => "Pause the run? Shards in hand are finished and count; no others start.",
  resume: () => "Resume the run?",
  stop: () => "Stop the run after this round? It is saved, and the same command resumes it.",
  drain: (name) => `Drain ${name}? It finishes its shard, and its process ends.`,
  release: (name) => `Release ${name}? It gets shards again.`,
};

export const canSteer = () => allowed;

export function setRun(run) {
  byId("steering").hidden = !allowed || run.level === "done";
  for (const button of document.querySelectorAll("[data-action]")) {
    const action = button.dataset.action;
    button.hidden = (action === "pause" && run.paused) || (action === "resume" && !run.paused);
    button.disabled = action === "stop" && run.stopping;
  }
}

// The buttons of a worker's tile; null: none apply.
export function tools(tile) {
  const box = make("div", "tools");
  if (tile.quarantined) box.append(button("Release", "release", tile.name));
  if (!tile.draining) box.append(button("Drain", "drain", tile.name));
  return box.children.length ? box : null;
}

function button(label, action, worker) {
  const node = make("button", "", label);
  node.type = "button";
  node.setAttribute("aria-label", `${label} ${worker}`);
  node.addEventListener("click", () => ask(action, worker));
  return node;
}

async function ask(action, worker = "") {
  const dialog = byId("confirm");
  text("confirm-text", QUESTIONS[action](worker));
  text("confirm-yes", action[0].toUpperCase() + action.slice(1));
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => { dialog.addEventListener("close", done, { once: true }); });
  if (dialog.returnValue !== "yes") return;
  text("answer", "…");
  try {
    const response = await fetch("control", {
      method: "POST",
      headers: { "content-type": "application/json", "x-mlpeft-token": content("mlpeft-token") },
      body: JSON.stringify({ action, worker }),
    });
    const answer = await response.json();
    text("answer", answer.text ?? `refused: ${answer.error}`);
  } catch {
    text("answer", "nobody answered; it may or may not have happened");
  }
}

for (const node of document.querySelectorAll("[data-action]")) {
  node.addEventListener("click", () => ask(node.dataset.action));
}
