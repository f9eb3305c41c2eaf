/** The decision guide: what its records say of every rule, and the advice that fires. */
import { panel } from "./base.js";
import { drawing, element, isNarrow, label, svg, tickTexts, widest } from "./draw.js";

const GAP = 28;
const ROW = 15;
const HEIGHT = 424;
const NOISE = 1; // strengths between -1 and 1 are within it; there the scale is linear ...
const WITHIN = 0.6; // ... and takes so many decades to each side
const MARKDOWN = /(\*\*.+?\*\*|\*.+?\*|`.+?`)/;

function compute({ rules }, settings) {
  const fires = ({ when }) =>
    Object.entries(when).every(([name, allowed]) => allowed.includes(settings[name]));
  return { lit: rules.flatMap((rule, n) => (fires(rule) ? [n] : [])) };
}

function draw({ lit }, { figure, width, say, data, language }) {
  const half = isNarrow(width) ? width : Math.floor((width - GAP) * 0.52);
  const pages = lit.map((n) => markdown(data.rules[n].page[language]));
  const attributes = { class: "kdlab-advice", style: `max-height: ${HEIGHT}px`, tabindex: 0 };
  const advice = element("div", { ...attributes, role: "region", "aria-label": say("advice") });
  advice.append(...pages.flat());
  const scale = element("p", { class: "title" }, say("scale"));
  figure.replaceChildren(element("div", {}, evidence(lit, half, data, language), scale), advice);
}

/** A dot a rule: outside the grey band it is beyond noise, to the right it is better. */
function evidence(lit, width, { rules, reach, ticks }, language) {
  const left = 0.93 * widest(rules.map(({ name }) => name[language])) + 10; // in 13 of 14 px
  const bottom = 6 + ROW * rules.length;
  const x = symmetric(reach, [left, width - 12]);
  const band = { x: x(-NOISE), width: x(NOISE) - x(-NOISE), y: 0, height: bottom };
  const parts = [svg("rect", { class: "noise", ...band })];
  const within = ticks.filter((tick) => tick >= reach[0] && tick <= reach[1]);
  for (const tick of within) {
    const place = { x1: x(tick), x2: x(tick), y1: 0, y2: bottom };
    parts.push(svg("line", { class: tick ? "grid" : "axis", ...place }));
  }
  const texts = within.map((tick) => [tick, String(tick).replace("-", "−")]);
  parts.push(...tickTexts(texts, x, bottom + 15));
  rules.forEach(({ name, strength, role }, n) => {
    const y = 3 + ROW * (n + 0.5);
    const fired = lit.includes(n);
    const row = svg("g", { class: fired ? "lit" : "dim" });
    const look = { "text-anchor": "end", class: "rule" };
    row.append(label(left - 8, y + 4.5, name[language], look));
    if (strength !== null) {
      const line = { x1: x(0), x2: x(strength), y1: y, y2: y, "stroke-width": 2.5 };
      row.append(
        svg("line", { ...line, stroke: `var(--${role})` }),
        svg("circle", { cx: x(strength), cy: y, r: 4.5, fill: `var(--${role})` }),
      );
    }
    parts.push(row);
  });
  return drawing(width, bottom + 22, ...parts);
}

/** Linear within the noise, logarithmic beyond. */
function symmetric([low, high], [from, to]) {
  const size = (v) => (v <= NOISE ? WITHIN * v : WITHIN + Math.log10(v));
  const bent = (v) => Math.sign(v) * size(Math.abs(v));
  return (value) => from + ((bent(value) - bent(low)) / (bent(high) - bent(low))) * (to - from);
}

/** The guide's Markdown as elements: a paragraph, then a list of at most two levels. */
function markdown(text) {
  const [first, ...lines] = text.split("\n").filter((line) => line.trim());
  const list = element("ul");
  for (const line of lines) {
    const item = element("li", {}, ...inline(line.replace(/^ *- /, "")));
    if (line.startsWith(" ")) {
      const outer = list.lastElementChild;
      if (outer.lastElementChild?.tagName !== "UL") outer.append(element("ul"));
      outer.lastElementChild.append(item);
    } else {
      list.append(item);
    }
  }
  return [element("p", {}, ...inline(first)), list];
}

function inline(text) {
  const tags = { "**": "b", "`": "code", "*": "em" };
  return text.split(MARKDOWN).map((part, n) => {
    if (n % 2 === 0) return part;
    const mark = Object.keys(tags).find((mark) => part.startsWith(mark));
    return element(tags[mark], {}, part.slice(mark.length, -mark.length));
  });
}

export default panel({ compute, draw });
