/** How long models take to reach a device, under a bandwidth and a patience. */
import { panel } from "./base.js";
import { bottomAxis, drawing, element, label, legend, logarithmic } from "./draw.js";
import { svg, widest } from "./draw.js";
import { format } from "./numbers.js";

const RANGE = [1e-4, 1e4]; // seconds
const TICKS = [0.001, 0.01, 0.1, 1, 10, 100, 1000];
const ROW = 46;

function compute({ models }, { bandwidth, patience }) {
  const seconds = models.map(([name, size]) => [name, (8 * size) / (1e6 * bandwidth)]);
  return {
    bandwidth,
    patience,
    budget: (1e3 * bandwidth * patience) / 8,
    seconds: Object.fromEntries(seconds),
    roles: Object.fromEntries(models.map(([name, , role]) => [name, role])),
    count: seconds.filter(([, took]) => took <= patience).length,
    models: models.length,
  };
}

function draw(state, { figure, width, say }) {
  const names = Object.keys(state.seconds);
  const times = names.map((name) => `${format(state.seconds[name], ".3g")} ${say("s")}`);
  const left = widest(names) + 10;
  const right = width - Math.max(widest(times) + 34, 100);
  const bottom = 10 + ROW * names.length;
  const x = logarithmic(RANGE, [left, right]);
  const ticks = TICKS.map((t) => [t, String(t)]);
  const middle = (left + right) / 2;
  const parts = [bottomAxis({ scale: x, ticks, title: say("seconds"), top: 4, bottom, middle })];
  names.forEach((name, n) => {
    const y = 10 + ROW * n;
    const inTime = state.seconds[name] <= state.patience;
    const end = Math.min(Math.max(x(state.seconds[name]), left), right);
    const look = { fill: `var(--${state.roles[name]})`, opacity: inTime ? 1 : 0.45 };
    const weight = inTime ? "name marked" : "name";
    const baseline = y + ROW / 2 + 1;
    parts.push(
      label(left - 8, baseline, name, { class: weight, "text-anchor": "end" }),
      svg("rect", { x: left, y: y + 6, width: end - left, height: ROW - 20, rx: 2, ...look }),
      label(width - 22, baseline, times[n], { class: weight, "text-anchor": "end" }),
      label(width - 14, baseline, inTime ? "✓" : "✗", { class: weight }),
    );
  });
  const limit = x(state.patience);
  parts.push(
    svg("line", { class: "axis", x1: left, x2: left, y1: 4, y2: bottom }),
    svg("line", { class: "limit", x1: limit, x2: limit, y1: 4, y2: bottom }),
  );
  const roles = [...new Set(Object.values(state.roles))];
  const entries = roles.map((role) => [role, say(role)]);
  const colours = legend([...entries, ["accent", say("patience"), "line"]]);
  figure.replaceChildren(element("div", {}, colours, drawing(width, bottom + 42, ...parts)));
}

export default panel({ compute, draw });
