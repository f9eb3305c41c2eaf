/** How many tokens of a draft a target accepts: the part that two distributions have in common. */
import { panel } from "./base.js";
import { Sheet, captioned, element, isNarrow, legend, pairedBars } from "./draw.js";
import { logSoften, sum, unpack } from "./numbers.js";

const ZOOM = 4; // of the image
const GAP = 32;
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

function draw(state, { figure, width, say, data }) {
  const truth = `${say("label")}${say(data.classes[state.label])}`;
  const picture = captioned(data.images.tile(state.image, ZOOM, truth), truth);
  const role = data.roles[state.draft];
  const series = { teacher: state.p, [role]: state.q, label: state.both };
  const chart = pairedBars({
    width: isNarrow(width) ? width : width - ZOOM * data.images.width - GAP,
    names: data.classes.map(say),
    marked: state.label,
    series: Object.entries(series).map(([role, values]) => ({ role, values })),
    domain: [0, 1],
    ticks: [0, 0.5, 1].map((share) => [share, String(share)]),
    title: say("probability"),
    form: ".1%",
    over: true, // what is common lies over
  });
  const colours = legend([
    ["teacher", say("p")],
    [role, say("q")],
    ["label", say("both")],
  ]);
  figure.replaceChildren(picture, element("div", {}, colours, chart));
}

export default panel({ prepare, compute, draw });
