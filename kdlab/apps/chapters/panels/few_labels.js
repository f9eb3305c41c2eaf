/** Few labels alone, beside a teacher of these labels and one of 50,000. */
import { panel } from "./base.js";
import { band, curve, dot, element, isNarrow, legend, plot } from "./draw.js";
import { format, sum } from "./numbers.js";

const WAYS = {
  labels: { role: "student" },
  own: { role: "distilled" },
  free: { role: "distilled", dashes: "8 5" },
};
const LEVELS = [10, 20, 30, 40, 50, 60, 70, 80]; // per cent

function compute({ counts, runs }, { kind, labelled }) {
  const at = counts.indexOf(labelled);
  const ends = (seeds) => [Math.min(...seeds), sum(seeds) / seeds.length, Math.max(...seeds)];
  const found = Object.fromEntries(Object.keys(WAYS).map((w) => [w, runs[kind][w].map(ends)]));
  const [labels, own, free] = Object.keys(WAYS).map((way) => found[way][at][1]);
  return {
    kind,
    counts,
    ...found,
    seeds: runs[kind].labels[at].length,
    n: labelled,
    labels_only: labels,
    own_gain: own - labels,
    more: free - own,
  };
}

function draw(state, { figure, width, say }) {
  const { counts, n } = state;
  const { x, y, picture } = plot({
    width,
    height: isNarrow(width) ? 320 : 350,
    horizontal: {
      domain: [counts[0] * 0.9, counts.at(-1) * 1.1],
      ticks: counts.map((count) => [count, format(count, ",.0f")]),
      title: say("labelled"),
      log: true,
    },
    vertical: {
      domain: [LEVELS[0], LEVELS.at(-1)],
      ticks: LEVELS.map((level) => [level, String(level)]),
      title: `${say("accuracy")} · ${say(state.kind)}`,
    },
  });
  const points = (way, end) => state[way].map((ends, m) => [x(counts[m]), y(ends[end])]);
  for (const [way, { role }] of Object.entries(WAYS)) {
    picture.append(band(points(way, 0), points(way, 2), role));
  }
  for (const [way, look] of Object.entries(WAYS)) picture.append(curve(points(way, 1), look));
  for (const way of Object.keys(WAYS)) {
    picture.append(dot(x(n), y(state[way][counts.indexOf(n)][1])));
  }
  const entries = Object.entries(WAYS).map(([way, { role, dashes }]) => [
    role,
    say(way),
    dashes ? "dashes" : "line",
  ]);
  figure.replaceChildren(element("div", {}, legend(entries), picture));
}

export default panel({ compute, draw });
