/** Attacked images, and what a plain student and a robust teacher say of them, under an ε. */
import { panel } from "./base.js";
import { Sheet, element, isNarrow, legend, pairedBars } from "./draw.js";
import { indexOfMax, unpack } from "./numbers.js";

const ROLES = ["student", "teacher"];
const ZOOM = 4;
const GAP = 32;

function prepare(data) {
  const nets = Object.entries(data.nets).map(([role, said]) => [role, unpack(said)]);
  return { ...data, nets: Object.fromEntries(nets), images: new Sheet(data.images) };
}

function compute({ epsilons, labels, nets }, { epsilon, image }) {
  const level = epsilons.indexOf(epsilon);
  const state = { epsilon, label: labels[image], count: labels.length, image, level };
  for (const role of ROLES) {
    const said = nets[role][level];
    state[role] = said[image];
    state[`${role}_label`] = said[image][state.label];
    state[`${role}_right`] = said.filter((row, n) => indexOfMax(row) === labels[n]).length;
  }
  return state;
}

function draw(state, { figure, width, say, data }) {
  const { images, classes, epsilons, labels } = data;
  const pictures = ROLES.map((role, net) => {
    const guess = indexOfMax(state[role]);
    const right = guess === state.label;
    const verdict = `${say(classes[guess])} ${right ? "✓" : "✗"}`;
    const place = (net * epsilons.length + state.level) * labels.length + state.image;
    const caption = element("figcaption", {}, say(`${role} says`), element("br"));
    caption.append(element("b", { class: right ? "" : "wrong" }, verdict));
    return element("figure", {}, images.tile(place, ZOOM, say(role)), caption);
  });
  const shown = element("div", { class: "kdlab-pair" }, ...pictures);
  const bars = pairedBars({
    width: isNarrow(width) ? width : width - 2 * ZOOM * images.width - 2 * GAP,
    names: classes.map(say),
    marked: state.label,
    series: ROLES.map((role) => ({ role, values: state[role] })),
    domain: [0, 1],
    ticks: [0, 0.25, 0.5, 0.75, 1].map((share) => [share, String(share)]),
    title: say("probability"),
    form: ".1%",
  });
  const colours = legend(ROLES.map((role) => [role, say(role)]));
  figure.replaceChildren(shown, element("div", {}, colours, bars));
}

export default panel({ prepare, compute, draw });
