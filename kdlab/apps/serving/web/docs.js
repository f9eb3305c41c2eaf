// /openapi.json as a page: what can be asked, with which parameters, and what comes back.
"use strict";

function add(parent, kind, text = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  parent.append(element);
  return element;
}

function range(schema) {
  if (schema.enum) return schema.enum.join(", ");
  const ends = schema.minimum === undefined ? "" : `, ${schema.minimum} to ${schema.maximum}`;
  return schema.type + ends + (schema.default === undefined ? "" : `, default ${schema.default}`);
}

fetch("openapi.json").then((answer) => answer.json()).then((api) => {
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const box = add(document.getElementById("paths"), "section");
      add(box, "h2", `${method.toUpperCase()} ${path}`);
      add(box, "p", [about.summary, about.description].filter(Boolean).join(". "));
      const list = add(box, "ul");
      for (const parameter of about.parameters || []) {
        add(list, "li", `${parameter.name}: ${range(parameter.schema)}`);
      }
      const kinds = Object.keys(about.requestBody?.content || {});
      if (kinds.length) add(list, "li", `body: ${kinds.join(", ")}`);
      for (const [status, told] of Object.entries(about.responses)) {
        add(list, "li", `${status}: ${told.description}`);
      }
    }
  }
});
