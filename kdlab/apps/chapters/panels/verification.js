/** What a threshold on the similarity accepts: rates of all pairs, and some pairs of images. */
import { panel } from "./base.js";
import { Sheet, curve, dot, element, isNarrow, legend, plot, svg } from "./draw.js";
import { format, unpack } from "./numbers.js";

const GAP = 36;
const LOWEST = 0.001; // false accept rate that is shown
const WIDE = 900; // pixels, from which on the pairs are larger
const SHARES = [0, 0.2, 0.4, 0.6, 0.8, 1];

function prepare(data) {
  const curves = data.curves.map(([role, name, ...rates]) => [role, name, ...rates.map(unpack)]);
  return { ...data, curves, scores: unpack(data.scores), images: new Sheet(data.images) };
}

/** Pairs above a threshold were counted beforehand, at each of the slider's steps. */
function compute({ counts, step, lowest, genuine, impostor, scores, same }, { threshold }) {
  const place = Math.round((threshold - lowest) / step);
  return {
    threshold,
    tar: counts.genuine[place] / genuine,
    far: counts.impostor[place] / impostor,
    genuine,
    impostor,
    scores,
    same,
    accepted: scores.map((score) => score > Math.fround(threshold)),
  };
}

function draw(state, { figure, width, say, data }) {
  const { images } = data;
  const narrow = isNarrow(width);
  const zoom = width < WIDE ? 2 : 3;
  const pairWidth = 2 * zoom * images.width + 2;
  const columns = narrow ? 2 : 3;
  const grid = element("div", { class: "kdlab-grid", style: `--columns: ${columns}` });
  grid.append(...state.scores.map((_, n) => decided(state, n, images, zoom, say)));
  const left = narrow ? width : width - columns * (pairWidth + 24) - GAP;
  figure.replaceChildren(element("div", {}, ...rates(state, left, say, data)), grid);
}

/** The curves, and the point at which the threshold stands. */
function rates({ far, tar }, width, say, { curves }) {
  const { x, y, picture } = plot({
    width,
    height: 320,
    horizontal: {
      domain: [LOWEST, 1],
      ticks: [0.001, 0.01, 0.1, 1].map((rate) => [rate, `${100 * rate}%`]),
      title: say("far"),
      log: true,
    },
    vertical: {
      domain: [0, 1],
      ticks: SHARES.map((rate) => [rate, format(rate, ".0%")]),
      title: say("tar"),
    },
  });
  for (const [role, , fars, tars] of curves) {
    const points = fars.map((rate, n) => [x(Math.max(rate, LOWEST)), y(tars[n])]);
    picture.append(curve(points, { role }));
  }
  const [across, up] = [x(Math.max(far, LOWEST)), y(tar)];
  const d = `M${across},${y(0)}V${up}H${x(LOWEST)}`;
  picture.append(svg("path", { class: "guide", d }), dot(across, up));
  return [legend(curves.map(([role, name]) => [role, say(name), "line"])), picture];
}

/** One pair of images and what the threshold makes of it. */
function decided({ accepted, same, scores }, n, images, zoom, say) {
  const right = accepted[n] === same[n];
  const truth = say(same[n] ? "same" : "different");
  const verdict = `${say(accepted[n] ? "accepted" : "refused")} ${right ? "✓" : "✗"}`;
  const tiles = [0, 1].map((side) => images.tile(2 * n + side, zoom, truth));
  const decision = element("b", { class: right ? "" : "wrong" }, verdict);
  const caption = element("figcaption", {}, `${truth} · ${format(scores[n], ".2f")}`);
  caption.append(element("br"), decision);
  return element("figure", {}, element("div", { class: "kdlab-pair" }, ...tiles), caption);
}

export default panel({ prepare, compute, draw });
