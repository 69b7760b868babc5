// Elements. All text goes through textContent: nothing that a worker sends is markup.

export const byId = (id) => document.getElementById(id);

export function text(id, value) {
  const node = byId(id);
  const shown = value === undefined || value === null || value === "" ? "" : String(value);
  if (node.textContent !== shown) node.textContent = shown;
  return node;
}

export function make(name, className, content) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

export function makeSvg(name, attributes, content) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (content !== undefined) node.textContent = content;
  return node;
}

export const number = (value) => value.toLocaleString("en-US");

export const clock = (seconds) =>
  new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour12: false });

export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const tip = () => byId("tip");

export function showTip(content, x, y) {
  const node = tip();
  node.textContent = content;
  node.hidden = false;
  const left = Math.min(x + 14, innerWidth - node.offsetWidth - 8);
  node.style.left = `${Math.max(8, left)}px`;
  node.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - node.offsetHeight - 8))}px`;
}

export const hideTip = () => { tip().hidden = true; };
