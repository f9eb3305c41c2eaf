/** The terms of the objective and their gradients under T and λ, with and without T². */
import { panel } from "./base.js";
import { curve, dot, element, isNarrow, legend, pairedBars, plot, roundUp } from "./draw.js";
import { divergence, format, length, logSoften, unpack } from "./numbers.js";

const GAP = 36;
const TICKS = [0.25, 1, 4, 20, 50];
const [THICK, USUAL, THIN] = [4, 2.5, 1.5];

function prepare(data) {
  return { ...data, student: unpack(data.student), teacher: unpack(data.teacher) };
}

function compute(data, { temperature, weight, with_t_squared, image }) {
  const [z, v, label] = [data.student[image], data.teacher[image], data.labels[image]];
  const soft = (t) => [logSoften(v, t), logSoften(z, t)];
  const kls = data.temperatures.map((t) => divergence(...soft(t)));
  const [p, q] = soft(temperature);
  const factor = weight * (with_t_squared ? temperature ** 2 : 1);
  const plain = logSoften(z, 1);
  const hard = -plain[label];
  const kl = divergence(p, q);
  const hardGradient = plain.map((x, k) => Math.exp(x) - (k === label ? 1 : 0));
  const softGradient = q.map((x, k) => (factor * (Math.exp(x) - Math.exp(p[k]))) / temperature);
  return {
    temperature,
    weight,
    alpha: weight / (1 + weight),
    with_t_squared,
    label,
    kl,
    hard,
    soft: factor * kl,
    total: hard + factor * kl,
    hard_gradient: hardGradient,
    soft_gradient: softGradient,
    ratio: length(hardGradient) ? length(softGradient) / length(hardGradient) : Infinity,
    curve: {
      temperature: data.temperatures,
      hard: kls.map(() => hard),
      with: kls.map((kl, n) => weight * data.temperatures[n] ** 2 * kl),
      without: kls.map((kl) => weight * kl),
    },
  };
}

function draw(state, { figure, width, say, data }) {
  const half = isNarrow(width) ? width : Math.floor((width - GAP) / 2);
  figure.replaceChildren(
    element("div", {}, ...terms(state, half, say)),
    element("div", {}, ...gradients(state, half, say, data)),
  );
}

/** The terms against the temperature: the variant in force thick, dots at the one in force. */
function terms({ curve: lines, with_t_squared, temperature, hard, soft }, width, say) {
  const inForce = with_t_squared ? "with" : "without";
  const seen = [...lines.hard, ...lines.with, ...lines.without].filter((value) => value > 0);
  const decades = [Math.min(...seen, 1), Math.max(...seen, 1)].map(Math.log10);
  const [low, high] = [Math.floor(decades[0]), Math.ceil(decades[1] + 0.1)];
  const every = Math.ceil((high - low) / 6);
  const levels = [];
  for (let power = low; power <= high; power += every) levels.push(10 ** power);
  const { x, y, picture } = plot({
    width,
    height: 326,
    horizontal: {
      domain: [TICKS[0], TICKS.at(-1)],
      ticks: TICKS.map((t) => [t, String(t)]),
      title: say("temperature"),
      log: true,
    },
    vertical: {
      domain: [10 ** low, 10 ** high],
      ticks: levels.map((level) => [level, format(level, ".1g")]),
      title: say("loss"),
      log: true,
    },
  });
  const line = (name, look) => {
    const points = lines.temperature.map((t, n) => [t, lines[name][n]]);
    const drawn = points.filter(([, value]) => value >= 10 ** low);
    const places = drawn.map(([t, value]) => [x(t), y(value)]);
    const thickness = name === inForce ? THICK : name === "hard" ? USUAL : THIN;
    picture.append(curve(places, { width: thickness, ...look }));
  };
  line("hard", { role: "label" });
  line("with", { role: "teacher" });
  line("without", { role: "teacher", dashes: "7 5" });
  const now = [hard, soft].filter((value) => value >= 10 ** low);
  picture.append(...now.map((value) => dot(x(temperature), y(value))));
  const entries = [
    ["label", say("hard"), "line"],
    ["teacher", say("with"), "line"],
    ["teacher", say("without"), "dashes"],
  ];
  return [legend(entries), picture];
}

/** What each term does to each of the student's logits. */
function gradients(state, width, say, data) {
  const series = [
    { role: "label", values: state.hard_gradient },
    { role: "teacher", values: state.soft_gradient },
  ];
  const reach = roundUp(Math.max(...series.flatMap(({ values }) => values.map(Math.abs))));
  const bars = pairedBars({
    width,
    names: data.classes.map(say),
    marked: state.label,
    series,
    domain: [-reach, reach],
    ticks: [-reach, -reach / 2, 0, reach / 2, reach].map((g) => [g, format(g, ".3g")]),
    title: say("gradient"),
    form: reach >= 100 ? "+.0f" : reach >= 10 ? "+.1f" : "+.2f",
  });
  const entries = [
    ["label", say("hard")],
    ["teacher", say(state.with_t_squared ? "with" : "without")],
  ];
  return [legend(entries), bars];
}

export default panel({ prepare, compute, draw });
