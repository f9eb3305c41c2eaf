/** Softened outputs of teacher and student under a temperature, for one teacher or a ladder. */
import { panel } from "./base.js";
import { Sheet, captioned, element, isNarrow, legend, pairedBars } from "./draw.js";
import { divergence, entropy, logSoften, unpack } from "./numbers.js";

const ZOOM = 4; // of the image
const GAP = 32;

function prepare(data) {
  const teachers = data.teachers.map(([name, logits]) => [name, unpack(logits)]);
  return {
    ...data,
    teachers: new Map(teachers),
    student: unpack(data.student),
    images: new Sheet(data.images),
  };
}

function compute(data, { temperature, image, teacher = [...data.teachers.keys()][0] }) {
  const p = logSoften(data.teachers.get(teacher)[image], temperature);
  const q = logSoften(data.student[image], temperature);
  const state = { temperature, label: data.labels[image], image };
  if (data.teachers.size > 1) state.name = teacher;
  for (const [role, logs] of Object.entries({ teacher: p, student: q })) {
    state[role] = logs.map(Math.exp);
    state[`${role}_entropy`] = entropy(logs);
    state[`${role}_bits`] = entropy(logs) / Math.LN2;
  }
  return { ...state, kl: divergence(p, q), uniform: Math.log(p.length) };
}

function draw(state, { figure, width, say, data }) {
  const truth = `${say("label")}${say(data.classes[state.label])}`;
  const picture = captioned(data.images.tile(state.image, ZOOM, truth), truth);
  const bars = pairedBars({
    width: isNarrow(width) ? width : width - ZOOM * data.images.width - GAP,
    names: data.classes.map(say),
    marked: state.label,
    series: ["teacher", "student"].map((role) => ({ role, values: state[role] })),
    domain: [0, 1],
    ticks: [0, 0.25, 0.5, 0.75, 1].map((share) => [share, String(share)]),
    title: say("probability"),
    form: ".1%",
  });
  const name = state.name ? `${say("teacher")} ${state.name}` : say("teacher");
  const colours = legend([
    ["teacher", name],
    ["student", say("student")],
  ]);
  figure.replaceChildren(picture, element("div", {}, colours, bars));
}

export default panel({ prepare, compute, draw });
