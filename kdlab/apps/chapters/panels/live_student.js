/** A student that learns while one looks, beside its twin that has labels only. */
import { panel } from "./base.js";
import { curve, dot, element, isNarrow, plot, rich } from "./draw.js";
import { fill, sum } from "./numbers.js";
import { STEPS, decode, race } from "./student.js";
import STUDENT from "./student.js" with { type: "text" };

const ROLES = { soft: "distilled", labels: "student", shuffled: "other", first: "other" };
const [COLUMNS, GAP, SLICE] = [25, 32, 8]; // of tiles; pixels; milliseconds of a frame
const PALE = 0.65; // share of the colour behind a tile

function prepare({ shared, seeds, quantiles }, refresh) {
  const data = { shared, seeds, quantiles, known: new Map(), running: "", isSeen: false, refresh };
  let due = 0;
  data.images = decode(shared);
  data.trainer = trainer(data, (key, look) => {
    data.known.get(key).push(look);
    due ||= requestAnimationFrame(() => {
      due = 0;
      refresh();
    });
  });
  return data;
}

function seen(data, isSeen) {
  if (isSeen === data.isSeen) return;
  data.isSeen = isSeen;
  if (isSeen) data.refresh();
  else teach(data, []);
}

/** What is known of the students now; those that are missing begin to learn. */
function compute(data, values) {
  const { digit, targets, many } = values;
  const seeds = many ? Array.from({ length: data.seeds }, (_, n) => n + 1) : [values.seed];
  const names = [...new Set(["soft", "labels", targets])];
  const jobs = seeds.map((seed) => names.map((name) => jobOf({ ...values, seed }, name)));
  const looks = (job) => data.known.get(JSON.stringify(job)) ?? [];
  const isDone = (job) => looks(job).at(-1)?.step === STEPS;
  const missing = jobs.map((pair) => pair.filter((job) => !isDone(job))).find((p) => p.length);
  if (data.isSeen) teach(data, missing ?? []);
  const students = names.map((name, n) => [name, jobs.map((pair) => looks(pair[n]))]);
  return { ...values, digit, seeds, students: Object.fromEntries(students), done: !missing };
}

/** What determines how a student learns, and nothing else. */
function jobOf({ digit, labels, temperature, seed }, targets) {
  if (targets === "labels") return { digit, labels, targets, seed };
  return targets === "first" ? { digit, targets, seed } : { digit, temperature, targets, seed };
}

/** Let these learn side by side and no others. */
function teach(data, jobs) {
  const keys = jobs.map((job) => JSON.stringify(job));
  if (keys.join() === data.running) return;
  data.running = keys.join();
  keys.forEach((key) => data.known.set(key, []));
  data.trainer(jobs, keys);
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

function draw(state, stage) {
  const { figure, numbers, width } = stage;
  const half = isNarrow(width) ? width : Math.floor((width - GAP) * 0.48);
  const other = isNarrow(width) ? width : width - half - GAP;
  const cards = Object.keys(state.students).map((name) => card(name, state, stage, other));
  const left = state.many ? dots(state, stage, half) : curves(state, stage, half);
  figure.replaceChildren(element("div", {}, left), element("div", {}, ...cards));
  numbers.className = "kdlab-numbers kdlab-said";
  numbers.setAttribute("role", "status");
  numbers.setAttribute("aria-busy", String(!state.done && !state.many));
  const said = words(state, stage);
  if (said.length) numbers.replaceChildren(...said.map((text) => element("span", {}, ...rich(text))));
}

/** Test images recognised: of the digit left out, or in % of all. */
function score({ digit }, look, { data }, when = "after") {
  return digit < 0 ? share(look[when], data) : look[when][digit];
}

const share = (recognised, { images }) => (100 * sum(recognised)) / images.test.count;

function frame(state, { say, data }, width, horizontal) {
  const low = state.digit < 0 ? 50 : 0;
  const of = data.images.test.count / 10; // images of a digit
  const title = say(low ? "accuracy" : state.many ? "repaired" : "recognised");
  const levels = [0, 25, 50, 75, 100].filter((level) => level >= low);
  return plot({
    width,
    height: 270,
    horizontal,
    vertical: {
      domain: [low, 100],
      ticks: levels.map((level) => [level, String(level)]),
      title: fill(title, { digit: state.digit, of }),
    },
  });
}

/** While they learn. */
function curves(state, stage, width) {
  const ticks = [0, 200, 400, STEPS].map((step) => [step, String(step)]);
  const title = stage.say("steps");
  const { x, y, picture } = frame(state, stage, width, { domain: [0, STEPS], ticks, title });
  for (const [name, [looks]] of Object.entries(state.students)) {
    const line = (when) => looks.map((look) => [x(look.step), y(score(state, look, stage, when))]);
    const role = ROLES[name];
    if (state.digit >= 0) picture.append(curve(line("before"), { role, dashes: "2 5" }));
    picture.append(curve(line("after"), { role }));
    if (looks.length) picture.append(dot(...line("after").at(-1), role));
  }
  return labelled(picture, state, stage);
}

/** What came out for each seed. */
function dots(state, stage, width) {
  const ticks = [1, 5, 10, 15, 20].map((seed) => [seed, String(seed)]);
  const horizontal = { domain: [0, state.seeds.length + 1], ticks, title: stage.say("pairs") };
  const { x, y, picture } = frame(state, stage, width, horizontal);
  for (const [name, each] of Object.entries(state.students)) {
    const ends = each.map((looks, n) => [n + 1, looks.at(-1)]);
    for (const [seed, last] of ends.filter(([, last]) => last?.step === STEPS)) {
      picture.append(dot(x(seed), y(score(state, last, stage)), ROLES[name]));
    }
  }
  return labelled(picture, state, stage);
}

function labelled(picture, state, stage) {
  const names = Object.keys(state.students);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", names.map((name) => result(name, state, stage)).join("; "));
  return picture;
}

/** A student's name, what it recognises (the mean of several seeds), and its test images. */
function card(name, state, stage, width) {
  const swatch = element("i", { style: `--colour: var(--${ROLES[name]})` });
  const head = element("p", {}, swatch, ...rich(result(name, state, stage)));
  const last = state.students[name].at(-1).at(-1) ?? state.students[name][0].at(-1);
  const pictures = last && !state.many ? [tiles(last.right, name, state, stage, width)] : [];
  return element("div", { class: "kdlab-student" }, head, ...pictures);
}

function result(name, state, stage) {
  const { say, data } = stage;
  const looks = state.students[name].map((each) => each.at(-1)).filter(Boolean);
  const mean = (number) => (looks.length ? sum(looks.map(number)) / looks.length : NaN);
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

/** The digit's test images (or the first hundred), on the student's colour where recognised. */
function tiles(right, name, state, stage, width) {
  const { images, shared } = stage.data;
  const { start, at, ink } = images.test;
  const { side } = shared;
  const cell = side + 1;
  const size = { width: COLUMNS * cell, height: Math.ceil(right.length / COLUMNS) * cell };
  const label = result(name, state, stage).replace(/<\/?b>/g, "");
  const zoom = Object.keys(state.students).length > 2 ? 1.5 : 1.8;
  const style = `width: ${Math.min(width, zoom * size.width)}px`;
  const canvas = element("canvas", { ...size, style, role: "img", "aria-label": label });
  const picture = new ImageData(size.width, size.height);
  const hex = stage.colours[ROLES[name]].match(/\w\w/g).map((two) => parseInt(two, 16));
  const colour = hex.map((value) => 255 - PALE * (255 - value));
  right.forEach((hit, n) => {
    const corner = Math.floor(n / COLUMNS) * cell * size.width + (n % COLUMNS) * cell;
    const i = state.digit < 0 ? n : 10 * n + state.digit;
    const place = (pixel) => 4 * (corner + Math.floor(pixel / side) * size.width + (pixel % side));
    for (let pixel = 0; hit && pixel < side * side; pixel++) {
      picture.data.set([...colour, 255], place(pixel));
    }
    for (let e = start[i]; e < start[i + 1]; e++) {
      if (!ink[e]) continue;
      const darker = colour.map((value) => value * (1 - ink[e]));
      picture.data.set(hit ? [...darker, 255] : [128, 128, 128, 255 * ink[e]], place(at[e]));
    }
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
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
