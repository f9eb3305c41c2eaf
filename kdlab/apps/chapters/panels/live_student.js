/** A student that learns while one looks, beside its twin that has labels only. */
import { panel } from "./base.js";
import { curve, dot, element, isNarrow, path, plot, rich } from "./draw.js";
import { fill, sum } from "./numbers.js";
import { STEPS, decode, race } from "./student.js";
import STUDENT from "./student.js" with { type: "text" };

const ROLES = { soft: "distilled", labels: "student", shuffled: "other", first: "other" };
const [COLUMNS, ROWS] = [25, 4]; // of test images
const [GAP, SLICE] = [32, 8]; // pixels; milliseconds of a frame
const PALE = 0.65; // share of the colour behind a tile

function prepare({ shared, seeds, quantiles }, redraw) {
  const data = { shared, seeds, quantiles, known: new Map(), running: "", isSeen: false, redraw };
  let due = 0;
  data.images = decode(shared);
  data.trainer = trainer(data, (key, look) => {
    data.known.get(key).push(look);
    due ||= requestAnimationFrame(() => {
      due = 0;
      redraw();
    });
  });
  return data;
}

function seen(data, isSeen) {
  if (isSeen === data.isSeen) return;
  data.isSeen = isSeen;
  if (isSeen) data.redraw();
  else teach(data, []);
}

/** What is known of the students now; those that are missing begin to learn. */
function compute(data, values) {
  const { digit, targets, many } = values;
  const seeds = many ? Array.from({ length: data.seeds }, (_, n) => n + 1) : [values.seed];
  const names = [...new Set(["soft", "labels", targets])];
  const jobs = seeds.map((seed) => names.map((name) => jobOf({ ...values, seed }, name)));
  const looks = (job) => data.known.get(JSON.stringify(job)) ?? [];
  const isDone = (job) => looks(job).at(-1)?.step === STEPS && (many || looks(job).length > 1);
  const missing = jobs.map((pair) => pair.filter((job) => !isDone(job))).find((p) => p.length);
  if (data.isSeen) teach(data, missing ?? [], many);
  const students = names.map((name, n) => [name, jobs.map((pair) => looks(pair[n]))]);
  return { ...values, digit, seeds, students: Object.fromEntries(students), done: !missing };
}

/** What determines how a student learns, and nothing else. */
function jobOf({ digit, labels, temperature, seed }, targets) {
  if (targets === "labels") return { digit, labels, targets, seed };
  return targets === "first" ? { digit, targets, seed } : { digit, temperature, targets, seed };
}

/** Let these learn side by side and no others; `quiet`ly, only what comes out is measured. */
function teach(data, jobs, quiet) {
  const keys = jobs.map((job) => JSON.stringify(job));
  if (keys.join() === data.running) return;
  data.running = keys.join();
  keys.forEach((key) => data.known.set(key, []));
  data.trainer(jobs.map((job) => ({ ...job, quiet })), keys);
}

/** A function that ends what it began before and begins a race of new jobs. */
function trainer({ shared, images }, tell) {
  let race = { id: 0, jobs: [], keys: [] };
  const hear = ({ id, n, ...look }) => id === race.id && tell(race.keys[n], look);
  let begin = slices(images, hear);
  try {
    const source = new Blob([STUDENT, "serve();"], { type: "text/javascript" });
    const worker = new Worker(URL.createObjectURL(source));
    const without = begin;
    begin = (race) => worker.postMessage(race);
    begin(shared);
    worker.onmessage = (event) => hear(event.data);
    worker.onerror = () => {
      begin = without;
      begin(race);
    };
  } catch {} // a page that forbids Workers
  return (jobs, keys) => {
    race = { id: race.id + 1, jobs, keys };
    begin(race);
  };
}

/** Without a Worker: some milliseconds of a race in each frame. */
function slices(images, hear) {
  let [id, run, due] = [0, null, 0];
  function slice() {
    const end = performance.now() + SLICE;
    let step = run.next();
    while (!step.done && performance.now() < end) {
      if (step.value) hear({ id, ...step.value });
      step = run.next();
    }
    if (step.value) hear({ id, ...step.value });
    due = step.done ? 0 : requestAnimationFrame(slice);
  }
  return (wanted) => {
    id = wanted.id;
    run = race(images, wanted.jobs);
    due ||= requestAnimationFrame(slice);
  };
}

// ---- the picture

/** Everything anew where a control has moved; else what has been learnt meanwhile alone. */
function draw(state, stage) {
  const { figure, numbers, width, data, language } = stage;
  const { students, done, ...values } = state;
  const made = JSON.stringify([values, width, language]);
  if (data.made !== made || state.many) {
    data.made = made;
    data.parts = build(state, stage);
    figure.replaceChildren(...data.parts.columns);
    numbers.className = "kdlab-numbers kdlab-said";
    numbers.setAttribute("role", "status");
  }
  for (const name of Object.keys(students)) paint(name, state, stage);
  data.parts.picture.setAttribute("aria-label", Object.keys(students).map((name) =>
    plain(result(name, state, stage))).join("; "));
  numbers.setAttribute("aria-busy", String(!done && !state.many));
  const said = words(state, stage);
  if (said.length) numbers.replaceChildren(...said.map((text) => element("span", {}, ...rich(text))));
}

const plain = (text) => text.replace(/<\/?b>/g, "");

/** The axes, and for each student its curves and its card. */
function build(state, stage) {
  const { width, say } = stage;
  const half = isNarrow(width) ? width : Math.floor((width - GAP) * 0.48);
  const other = isNarrow(width) ? width : width - half - GAP;
  const { x, y, picture } = frame(state, stage, half);
  picture.setAttribute("role", "img");
  const students = {};
  for (const name of Object.keys(state.students)) {
    const role = ROLES[name];
    const lines = { before: curve([], { role, dashes: "2 5" }), after: curve([], { role }) };
    const end = dot(x(0), y(0), role);
    end.setAttribute("visibility", "hidden");
    if (state.many) picture.append(...dots(state.students[name], role, state, stage, { x, y }));
    else picture.append(...(state.digit < 0 ? [] : [lines.before]), lines.after, end);
    const words = element("span");
    const swatch = element("i", { style: `--colour: var(--${role})` });
    const canvas = state.many ? "" : tiles(nameOf(name, state, say), state, stage, other);
    const head = element("p", {}, swatch, words);
    const card = element("div", { class: "kdlab-student" }, head, canvas);
    students[name] = { lines, end, words, canvas, card };
  }
  const cards = Object.values(students).map(({ card }) => card);
  const columns = [element("div", {}, picture), element("div", {}, ...cards)];
  return { x, y, picture, columns, students };
}

/** What a student has learnt until now. */
function paint(name, state, stage) {
  const { x, y, students } = stage.data.parts;
  const { lines, end, words, canvas } = students[name];
  const text = result(name, state, stage);
  words.replaceChildren(...rich(text));
  const looks = state.students[name][0];
  if (state.many || !looks.length) return;
  const points = (when) => looks.map((look) => [x(look.step), y(score(state, look, stage, when))]);
  for (const [when, line] of Object.entries(lines)) line.setAttribute("d", path(points(when)));
  const [cx, cy] = points("after").at(-1);
  for (const [key, value] of Object.entries({ cx, cy, visibility: "visible" })) {
    end.setAttribute(key, value);
  }
  canvas.setAttribute("aria-label", plain(text));
  colour(canvas, looks.at(-1).right, name, state, stage);
}

/** Test images recognised: of the digit left out, or in % of all. */
function score({ digit }, look, { data }, when = "after") {
  return digit < 0 ? share(look[when], data) : look[when][digit];
}

const share = (recognised, { images }) => (100 * sum(recognised)) / images.test.count;

/** Axes: recognised images against steps or, of many, against seeds. */
function frame(state, { say, data }, width) {
  const low = state.digit < 0 ? 50 : 0;
  const of = data.images.test.count / 10; // images of a digit
  const title = say(low ? "accuracy" : state.many ? "repaired" : "recognised");
  const ticks = state.many ? [1, 5, 10, 15, 20] : [0, 200, 400, STEPS];
  const levels = [0, 25, 50, 75, 100].filter((level) => level >= low);
  return plot({
    width,
    height: 270,
    horizontal: {
      domain: state.many ? [0, state.seeds.length + 1] : [0, STEPS],
      ticks: ticks.map((tick) => [tick, String(tick)]),
      title: say(state.many ? "pairs" : "steps"),
    },
    vertical: {
      domain: [low, 100],
      ticks: levels.map((level) => [level, String(level)]),
      title: fill(title, { digit: state.digit, of }),
    },
  });
}

/** What came out for each seed. */
function dots(each, role, state, stage, { x, y }) {
  const ends = each.map((looks, n) => [n + 1, looks.at(-1)]);
  const known = ends.filter(([, last]) => last?.step === STEPS);
  return known.map(([seed, last]) => dot(x(seed), y(score(state, last, stage)), role));
}

/** A student's name and what it recognises, the mean of several seeds. */
function result(name, state, stage) {
  const { say, data } = stage;
  const looks = state.students[name].map((each) => each.at(-1)).filter(Boolean);
  if (!looks.length) return nameOf(name, state, say);
  const mean = (number) => sum(looks.map(number)) / looks.length;
  const digits = state.many ? ".1f" : ".0f";
  return fill(say(state.digit < 0 ? "found all" : "found digit").replaceAll(":digits", `:${digits}`), {
    name: nameOf(name, state, say),
    of: state.digit < 0 ? data.images.test.count : data.images.test.count / 10,
    after: mean((look) => score(state, look, stage)),
    before: mean((look) => score(state, look, stage, "before")),
    shift: mean((look) => look.shift),
    all: mean((look) => share(look.after, data)),
  });
}

function nameOf(name, { temperature }, say) {
  return fill(say(name === "labels" ? "labels only" : name), { T: temperature });
}

/** A place for the digit's test images, or the first hundred. */
function tiles(name, { students }, { data }, width) {
  const cell = data.shared.side + 1;
  const size = { width: COLUMNS * cell, height: ROWS * cell };
  const zoom = Object.keys(students).length > 2 ? 1.3 : 1.8;
  const style = `width: ${Math.min(width, zoom * size.width)}px`;
  return element("canvas", { ...size, style, role: "img", "aria-label": name });
}

/** The images, on the student's colour where it recognises them. */
function colour(canvas, right, name, state, stage) {
  const { side, levels } = stage.data.shared;
  const { start, at, ink } = stage.data.images.test;
  const [cell, row] = [side + 1, canvas.width];
  const picture = new ImageData(row, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const shades = Array.from({ length: levels + 1 }, (_, level) => level / levels);
  const full = stage.colours[ROLES[name]].match(/\w\w/g).map((two) => parseInt(two, 16));
  const paper = full.map((value) => 255 - PALE * (255 - value));
  const recognised = shades.map((ink) => rgba(...paper.map((value) => value * (1 - ink)), 255));
  const missed = shades.map((ink) => rgba(128, 128, 128, 255 * ink));
  right.forEach((hit, n) => {
    const corner = Math.floor(n / COLUMNS) * cell * row + (n % COLUMNS) * cell;
    const [i, shade] = [state.digit < 0 ? n : 10 * n + state.digit, hit ? recognised : missed];
    for (let y = 0; y < side; y++) {
      pixels.fill(shade[0], corner + y * row, corner + y * row + side);
    }
    for (let e = start[i]; e < start[i + 1]; e++) {
      const place = corner + Math.floor(at[e] / side) * row + (at[e] % side);
      if (ink[e]) pixels[place] = shade[Math.round(levels * ink[e])];
    }
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** A pixel as a number, its bytes from the lowest. */
function rgba(...bytes) {
  return new Uint32Array(Uint8ClampedArray.from(bytes).buffer)[0];
}

// ---- what must be said beside it; nothing until all have learnt

function words(state, stage) {
  const { digit, labels, targets, many, students } = state;
  const { say, data } = stage;
  const few = labels < data.images.train.count / 10;
  const told = { digit, labels, images: data.images.train.count, ...teacher(data) };
  if (many) return [...leads(state, stage), fill(say("only seeds"), told)];
  if (!state.done) return [];
  for (const [name, [looks]] of Object.entries(students)) {
    const role = name === targets && name !== "soft" ? "robbed" : name;
    for (const when of ["before", "after"]) {
      told[`${role}_${when}`] = score(state, looks.at(-1), stage, when);
    }
  }
  told.gain = told.soft_after - told.labels_after;
  told.robbed_gain = told.robbed_after - told.labels_after;
  told.rest = told.soft_after - told.robbed_after;
  const kind = digit < 0 ? (few ? "few" : "same") : "left out";
  return [say(kind), say(`${kind} ${targets}`)].map((text) => fill(text, told));
}

function teacher({ shared }) {
  return { teacher_labels: shared.teacher.labels, teacher_side: shared.teacher.side };
}

/** By how much soft targets lead each other student, over pairs of a seed. */
function leads(state, stage) {
  const { say, data } = stage;
  const { soft, ...others } = state.students;
  return Object.entries(others).flatMap(([name, each]) => {
    const ends = soft.map((looks, n) => [looks.at(-1), each[n].at(-1)]);
    const pairs = ends.filter((both) => both.every((look) => look?.step === STEPS));
    if (pairs.length < 2) return [];
    const gaps = pairs.map(([a, b]) => score(state, a, stage) - score(state, b, stage));
    const mean = sum(gaps) / gaps.length;
    const variance = sum(gaps.map((gap) => (gap - mean) ** 2)) / (gaps.length - 1);
    const half = data.quantiles[gaps.length] * Math.sqrt(variance / gaps.length);
    return fill(say("lead"), {
      ...{ name: nameOf("soft", state, say), other: nameOf(name, state, say), mean },
      ...{ wins: gaps.filter((gap) => gap > 0).length, pairs: gaps.length },
      ...{ low: mean - half, high: mean + half },
    });
  });
}

export default panel({ prepare, compute, draw, seen });
