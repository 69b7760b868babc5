// The OpenAPI page: reads openapi.json, shows each operation, and sends requests.
// Text enters the page as text only.

const SHOWN = 12;
const EXAMPLES = {
  PredictRequest: { texts: ["where is my parcel?", "I want my money back"] },
  LearnRequest: {
    id: "tickets",
    examples: [
      { text: "where is my parcel?", label: "delivery" },
      { text: "I want my money back", label: "refund" },
    ],
  },
  MoreExamples: { examples: [{ text: "it came broken", label: "complaint" }] },
};

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function resolve(api, schema) {
  if (!schema?.$ref) return schema ?? {};
  return api.components.schemas[schema.$ref.split("/").at(-1)];
}

function typeOf(api, schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(api, one)).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${typeOf(api, schema.items ?? {})}]`;
  if (schema.additionalProperties) return `{name: ${typeOf(api, schema.additionalProperties)}}`;
  return schema.type ?? "any";
}

// Names of the schemas inside a schema, each once.
function inner(api, schema, found = new Set()) {
  for (const [, name] of JSON.stringify(resolve(api, schema)).matchAll(/schemas\/(\w+)/g)) {
    if (!found.has(name)) inner(api, { $ref: `#/components/schemas/${name}` }, found.add(name));
  }
  return found;
}

function tablesOf(api, title, schema) {
  const tables = [element("p", `${title}: ${typeOf(api, schema)}`), tableOf(api, schema)];
  for (const name of inner(api, schema)) {
    const reference = { $ref: `#/components/schemas/${name}` };
    tables.push(element("p", name), tableOf(api, reference));
  }
  return tables;
}

function tableOf(api, reference) {
  const schema = resolve(api, reference);
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const name of ["key", "type", "meaning"]) head.append(element("th", name));
  const body = table.createTBody();
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    const row = body.insertRow();
    const needed = schema.required?.includes(key) ? "" : " (optional)";
    row.insertCell().append(element("code", key + needed));
    row.insertCell().append(element("code", typeOf(api, value)));
    row.insertCell().textContent = value.description ?? "";
  }
  const scroll = element("div", "", { class: "scroll" });
  scroll.append(table);
  return scroll;
}

async function send(method, path, body, output) {
  const headers = {};
  const token = document.querySelector("#token").value;
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  output.textContent = "...";
  output.hidden = false;
  const began = performance.now();
  try {
    const answer = await fetch(path, { method, headers, body });
    const text = await answer.text();
    const took = Math.round(performance.now() - began);
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 1); } catch { /* not JSON */ }
    output.textContent = `${answer.status} ${answer.statusText}, ${took} ms\n${shown}`;
  } catch (error) {
    output.textContent = `no answer: ${error.message}`;
  }
}

function operation(api, path, method, about) {
  const box = element("details");
  const line = element("summary");
  line.append(element("h2", method.toUpperCase(), { class: "method" }));
  line.append(element("code", path), element("span", about.description ?? about.summary));
  box.append(line);
  const inputs = (about.parameters ?? []).filter((one) => one.in === "path").map((one) => {
    const label = element("label", `${one.name} `);
    const input = element("input", "", { name: one.name });
    label.append(input);
    box.append(label);
    return input;
  });
  const request = about.requestBody?.content["application/json"].schema;
  let area = null;
  if (request) {
    const name = typeOf(api, request);
    box.append(...tablesOf(api, "Request", request));
    area = element("textarea", JSON.stringify(EXAMPLES[name] ?? {}, null, 1),
      { rows: SHOWN, spellcheck: "false", "aria-label": `${name} as JSON` });
    box.append(area);
  }
  for (const [status, answer] of Object.entries(about.responses)) {
    const schema = answer.content?.["application/json"]?.schema;
    if (!status.startsWith("2") || !schema?.$ref) continue;
    box.append(...tablesOf(api, `Answer ${status}`, schema));
  }
  const output = element("pre");
  output.hidden = true;
  const button = element("button", "Send");
  button.addEventListener("click", () => {
    let target = path;
    for (const input of inputs) {
      target = target.replace(`{${input.name}}`, encodeURIComponent(input.value));
    }
    send(method.toUpperCase(), target, area?.value, output);
  });
  box.append(button, output);
  return box;
}

const api = await (await fetch("/openapi.json")).json();
document.querySelector("#title").textContent = `${api.info.title} ${api.info.version}`;
document.querySelector("#about").firstChild.textContent = `${api.info.description} As `;
document.querySelector("#about").lastChild.textContent = ".";
document.querySelector("#secret").hidden = !api.components.securitySchemes;
const main = document.querySelector("#operations");
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, about] of Object.entries(methods)) {
    main.append(operation(api, path, method, about));
  }
}
