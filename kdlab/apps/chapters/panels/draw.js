/** Drawing by hand: elements, axes, bars, curves, tiles; lengths are CSS pixels, never scaled. */
import { format } from "./numbers.js";

const SVG = "http://www.w3.org/2000/svg";
const NARROW = 560; // below this width parts stand one below the other
const FONT = "700 14px system-ui, sans-serif"; // the widest that a text may be

export const isNarrow = (width) => width < NARROW;

// ---- elements

/** An HTML element; a child is an element or a text. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A picture with words below it. */
export function captioned(picture, words) {
  return element("figure", {}, picture, element("figcaption", {}, words));
}

/** A text whose <b>parts</b> are bold, as nodes. */
export function rich(text) {
  const parts = text.split(/<\/?b>/);
  return parts.map((part, n) => (n % 2 ? element("b", {}, part) : part));
}

export function label(x, y, text, attributes = {}) {
  return svg("text", { x, y, "text-anchor": "start", ...attributes }, text);
}

export function drawing(width, height, ...children) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, ...children);
}

const lengths = new Map(); // text -> pixels
const ruler = document.createElement("canvas").getContext("2d");

/** Pixels that the longest of these texts takes. */
export function widest(texts) {
  ruler.font = FONT;
  for (const text of texts) {
    if (!lengths.has(text)) lengths.set(text, ruler.measureText(text).width);
  }
  return Math.ceil(Math.max(0, ...texts.map((text) => lengths.get(text))));
}

// ---- scales: functions from a number to a pixel

export function linear([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

export function logarithmic(domain, pixels) {
  const scale = linear(domain.map(Math.log10), pixels);
  return (value) => scale(Math.log10(value));
}

/** The next of … 0.1, 0.2, 0.5, 1, 2, 5 … so that an axis does not twitch. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-6)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => value <= step * 1.0001);
}

// ---- parts of a picture

/** What the colours mean: [role, text, shape], the shape being "box", "line" or "dashes". */
export function legend(entries) {
  const items = entries.map(([role, text, shape = "box"]) =>
    element("li", {}, element("i", { class: shape, style: `--colour: var(--${role})` }), text),
  );
  return element("ul", { class: "kdlab-legend" }, ...items);
}

/** Vertical grid lines with their numbers below, and the axis' title. */
export function bottomAxis({ scale, ticks, title, top, bottom, middle }) {
  const lines = ticks.map(([value]) => scale(value)).map((x) =>
    svg("line", { class: "grid", x1: x, x2: x, y1: top, y2: bottom }),
  );
  const below = label(middle, bottom + 36, title, { class: "title", "text-anchor": "middle" });
  return svg("g", {}, ...lines, ...tickTexts(ticks, scale, bottom + 17), below);
}

/** The texts below an axis; one that would touch its neighbour on the left is left out. */
export function tickTexts(ticks, scale, y) {
  let end = -Infinity;
  const free = ticks.filter(([value, text]) => {
    const half = widest([text]) / 2 + 2;
    if (scale(value) - half < end) return false;
    end = scale(value) + half;
    return true;
  });
  const look = { class: "tick", "text-anchor": "middle" };
  return free.map(([value, text]) => label(scale(value), y, text, look));
}

/**
 * Two horizontal bars a row, their numbers in columns at the right.
 *
 * `series` are two of { role, values }, or more that lie one over the other (`over`); `marked` is
 * the row that has the label.
 */
export function pairedBars(how) {
  const { width, names, marked, series, domain, ticks, title, form, over } = how;
  const row = isNarrow(width) && !over ? 23 : 26;
  const thickness = over ? row - 8 : Math.round(row * 0.36);
  const numbers = series.map(({ values }) => values.map((value) => format(value, form)));
  const column = widest(numbers.flat()) + (isNarrow(width) && over ? 6 : 14);
  const left = widest(names) + 24;
  const right = width - series.length * column - 4;
  const top = 22;
  const bottom = top + row * names.length + 4;
  const x = linear(domain, [left, right]);
  const axis = { scale: x, ticks, title, top: top - 4, bottom, middle: (left + right) / 2 };
  const parts = [bottomAxis(axis)];
  names.forEach((name, n) => {
    const y = top + row * (n + 0.5);
    const middle = y + 5;
    const bold = n === marked ? " marked" : "";
    if (bold) parts.push(label(0, middle, "▸", { class: "name" }));
    parts.push(label(left - 8, middle, name, { class: `name${bold}`, "text-anchor": "end" }));
    series.forEach(({ role, values }, s) => {
      const [from, to] = [x(0), x(values[n])];
      const box = { x: Math.min(from, to), width: Math.abs(to - from), height: thickness };
      const above = over ? y - thickness / 2 : y + (s - 1) * thickness;
      parts.push(svg("rect", { ...box, y: above, fill: `var(--${role})` }));
      const look = { class: `number${bold}`, "text-anchor": "end" };
      parts.push(label(right + column * (s + 1), middle, numbers[s][n], look));
    });
  });
  series.forEach(({ role }, s) => {
    const end = right + column * (s + 1);
    const swatch = { x: end - 12, y: 3, width: 12, height: 12, rx: 2 };
    parts.push(svg("rect", { ...swatch, fill: `var(--${role})` }));
  });
  parts.push(svg("line", { class: "axis", x1: x(0), x2: x(0), y1: top - 4, y2: bottom }));
  return drawing(width, bottom + 42, ...parts);
}

/**
 * Axes for curves: { x, y, picture }, two scales and the drawing to append to.
 *
 * `horizontal` and `vertical` are { domain, ticks, title, logarithmic }.
 */
export function plot({ width, height, horizontal, vertical }) {
  const left = widest(vertical.ticks.map(([, text]) => text)) + 10;
  const [top, bottom, right] = [28, height - 42, width - 14];
  const scale = ({ domain, log }, pixels) => (log ? logarithmic : linear)(domain, pixels);
  const x = scale(horizontal, [left, right]);
  const y = scale(vertical, [bottom, top]);
  const { ticks, title } = horizontal;
  const axis = { scale: x, ticks, title, top, bottom, middle: (left + right) / 2 };
  const levels = vertical.ticks.flatMap(([value, text]) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
    label(left - 6, y(value) + 4.5, text, { class: "tick", "text-anchor": "end" }),
  ]);
  const frame = svg("path", { class: "axis", d: `M${left},${top}V${bottom}H${right}` });
  const above = label(0, 14, vertical.title, { class: "title" });
  return { x, y, picture: drawing(width, height, bottomAxis(axis), ...levels, frame, above) };
}

/** The way through these points. */
export function path(points) {
  return points.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
}

export function curve(points, { role, width = 2.5, dashes = "none" }) {
  const d = path(points);
  const look = { stroke: `var(--${role})`, "stroke-width": width, "stroke-dasharray": dashes };
  return svg("path", { class: "curve", d, ...look });
}

/** The area between two rows of points. */
export function band(lower, upper, role) {
  const points = [...lower, ...upper.toReversed()].map((point) => point.join(",")).join(" ");
  return svg("polygon", { class: "band", points, fill: `var(--${role})` });
}

export function dot(x, y, role = "accent") {
  return svg("circle", { class: "dot", cx: x, cy: y, r: 6, fill: `var(--${role})` });
}

/** Tiles of one picture, { source, size: [height, width], columns }, drawn without smoothing. */
export class Sheet {
  constructor({ source, size, columns }) {
    this.picture = new Image();
    this.picture.src = source;
    [this.height, this.width] = size;
    this.columns = columns;
  }

  /** The n-th tile as a canvas, `zoom` times as large; `text` says what it shows. */
  tile(n, zoom, text) {
    const { width, height, columns, picture } = this;
    const style = `width: ${zoom * width}px; height: ${zoom * height}px`;
    const canvas = element("canvas", { width, height, style, role: "img", "aria-label": text });
    const place = [(n % columns) * width, Math.floor(n / columns) * height, width, height];
    const paint = () => canvas.getContext("2d").drawImage(picture, ...place, 0, 0, width, height);
    if (picture.complete) paint();
    else picture.decode().then(paint);
    return canvas;
  }
}
