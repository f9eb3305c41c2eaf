/** How many tokens of a draft a target accepts: the part that two distributions have in common. */
import { panel } from "./base.js";
import { Sheet, bottomAxis, drawing, element, isNarrow, label, legend } from "./draw.js";
import { linear, svg, widest } from "./draw.js";
import { format, logSoften, sum, unpack } from "./numbers.js";

const ZOOM = 4; // of the image
const GAP = 32;
const ROW = 26; // of a class
const TOP = 22; // what the columns of numbers are stands here
const RUN = [0, 1, 2, 3, 4]; // four drafted tokens; the power 0 is the target's own token

function prepare(data) {
  const drafts = Object.entries(data.drafts).map(([name, logits]) => [name, unpack(logits)]);
  return {
    ...data,
    target: unpack(data.target),
    drafts: Object.fromEntries(drafts),
    images: new Sheet(data.images),
  };
}

function compute(data, { draft, temperature, image }) {
  const said = [data.target, data.drafts[draft]].map((logits) => logits[image]);
  const [p, q] = said.map((logits) => logSoften(logits, temperature).map(Math.exp));
  const both = p.map((share, k) => Math.min(share, q[k]));
  const accepted = sum(both);
  const tokens = sum(RUN.map((n) => accepted ** n));
  const at = { temperature, label: data.labels[image], draft, image };
  return { ...at, p, q, both, accepted, tokens };
}

/** A bar a class: what both have in common, then what only one of them has; three numbers. */
function bars(state, { width, names, role, title }) {
  const series = [
    ["teacher", state.p],
    [role, state.q],
    ["label", state.both],
  ];
  const numbers = series.map(([, values]) => values.map((value) => format(value, ".1%")));
  const column = widest(numbers.flat()) + (isNarrow(width) ? 6 : 14);
  const left = widest(names) + 24;
  const right = width - 3 * column - 4;
  const bottom = TOP + ROW * names.length + 4;
  const x = linear([0, 1], [left, right]);
  const ticks = [0, 0.5, 1].map((share) => [share, String(share)]);
  const axis = { scale: x, ticks, title, top: TOP - 4, bottom, middle: (left + right) / 2 };
  const parts = [bottomAxis(axis)];
  names.forEach((name, n) => {
    const bold = n === state.label ? " marked" : "";
    const middle = TOP + ROW * (n + 0.5) + 5;
    if (bold) parts.push(label(0, middle, "▸", { class: "name" }));
    parts.push(label(left - 8, middle, name, { class: `name${bold}`, "text-anchor": "end" }));
    series.forEach(([colour, values], s) => {
      const box = { x: x(0), y: TOP + ROW * n + 4, width: x(values[n]) - x(0), height: ROW - 8 };
      parts.push(svg("rect", { ...box, fill: `var(--${colour})` })); // the common part lies over
      const look = { class: `number${bold}`, "text-anchor": "end" };
      parts.push(label(right + column * (s + 1), middle, numbers[s][n], look));
    });
  });
  series.forEach(([colour], s) => {
    const swatch = { x: right + column * (s + 1) - 12, y: 3, width: 12, height: 12, rx: 2 };
    parts.push(svg("rect", { ...swatch, fill: `var(--${colour})` }));
  });
  parts.push(svg("line", { class: "axis", x1: x(0), x2: x(0), y1: TOP - 4, y2: bottom }));
  return drawing(width, bottom + 42, ...parts);
}

function draw(state, { figure, width, say, data }) {
  const truth = `${say("label")}${say(data.classes[state.label])}`;
  const picture = element(
    "figure",
    {},
    data.images.tile(state.image, ZOOM, truth),
    element("figcaption", {}, truth),
  );
  const role = data.roles[state.draft];
  const chart = bars(state, {
    width: isNarrow(width) ? width : width - ZOOM * data.images.width - GAP,
    names: data.classes.map(say),
    role,
    title: say("probability"),
  });
  const colours = legend([
    ["teacher", say("p")],
    [role, say("q")],
    ["label", say("both")],
  ]);
  figure.replaceChildren(picture, element("div", {}, colours, chart));
}

export default panel({ prepare, compute, draw });
