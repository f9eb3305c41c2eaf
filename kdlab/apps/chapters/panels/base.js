/**
 * What all panels share: controls above a picture above a line of numbers, in two languages.
 *
 * A panel's module names `compute(data, values)`, the numbers of a position, under the names that
 * the Python function of the panel gives them, and `draw(state, stage)`, their picture. A change
 * computes and draws everything anew: some hundred elements, a millisecond or two. The same code
 * runs as an anywidget and, with `host.js`, in a page without a kernel.
 *
 * Numbers that come with time: `prepare` gets `redraw`, too, and `seen(data, isSeen)` hears when
 * the panel comes into sight and leaves it.
 */
import { element, rich } from "./draw.js";
import { fill, format } from "./numbers.js";

const LANGUAGES = { en: "English", zh: "中文" };
const NAVIGATION = /^(Arrow|Home|End|Page|Enter$| $)/; // a deck would change its slide
const REST = 80; // milliseconds
const MANY = 4; // more controls than these stand in columns
const resting = new WeakMap(); // model -> timer
let panels = 0;

/** The anywidget of a panel; `prepare(data)` is called once, before all else. */
export function panel({ prepare = (data) => data, compute, draw, seen = () => {} }) {
  return { render: ({ model, el }) => mount(model, el, { prepare, compute, draw, seen }) };
}

function mount(model, el, { prepare, compute, draw, seen }) {
  const { data: given, controls: wanted, words, colours } = model.get("bundle");
  const data = prepare(given, redraw);
  const say = (key) => words[model.get("language")][key] ?? key;
  const id = `kdlab-${++panels}-${Math.random().toString(36).slice(2)}`;
  const controls = wanted.map((control, n) => KINDS[control.kind](model, control, `${id}-${n}`));
  const languages = languageSwitch(model);
  const figure = element("div", { class: "kdlab-figure", role: words.en.line ? "img" : "group" });
  const numbers = element("p", { class: "kdlab-numbers" });
  const many = controls.length > MANY ? " kdlab-many" : "";
  const bar = element("div", { class: `kdlab-controls${many}` }, ...controls.map((c) => c.box));
  const top = element("div", { class: "kdlab-top" }, bar, languages.box);
  const root = element("div", { class: "kdlab-panel", "data-prevent-swipe": "" });
  root.append(top, figure, numbers);
  for (const [role, colour] of Object.entries(colours)) {
    root.style.setProperty(`--${role}`, colour);
  }

  let width = 0; // asking for it would lay the page out; 0 as well in a slide not shown yet
  function refresh() {
    const language = model.get("language");
    controls.forEach((control) => control.show(say, language));
    languages.show();
    root.lang = language === "zh" ? "zh-Hans" : "en";
    redraw();
  }
  function redraw() {
    const language = model.get("language");
    const values = Object.fromEntries(wanted.map(({ name }) => [name, model.get(name)]));
    const state = compute(data, values);
    root.state = state; // what a test reads
    if (words.en.line) {
      const parts = fill(say("line"), named(state, say)).split(" · ");
      numbers.replaceChildren(...parts.map((part) => element("span", {}, ...rich(part))));
      figure.setAttribute("aria-label", parts.join(", ").replace(/<\/?b>/g, ""));
    }
    if (width) draw(state, { figure, numbers, width, say, data, language, colours });
  }

  const names = [...wanted.map(({ name }) => name), "language"];
  names.forEach((name) => model.on(`change:${name}`, refresh));
  root.addEventListener("keydown", (event) => {
    if (NAVIGATION.test(event.key)) event.stopPropagation();
  });
  el.append(root);
  refresh();
  const observer = new ResizeObserver(() => {
    if (figure.clientWidth === width) return;
    width = figure.clientWidth;
    refresh();
  });
  observer.observe(figure);
  const watcher = new IntersectionObserver((all) => seen(data, all.at(-1).isIntersecting));
  watcher.observe(root);
  return () => {
    observer.disconnect();
    watcher.disconnect();
    seen(data, false);
    names.forEach((name) => model.off(`change:${name}`, refresh));
    root.remove();
  };
}

/** The texts of a state in the language in force. */
function named(state, say) {
  const entries = Object.entries(state);
  return Object.fromEntries(entries.map(([k, v]) => [k, typeof v === "string" ? say(v) : v]));
}

// ---- controls: each has its `box` and `show(say, language)`, which puts the model's value on it

const KINDS = { slider, choice, switch: checkbox, button };
const QUIET = { "data-lm-suppress-shortcuts": "true" }; // on the input itself: JupyterLab's keys

/** The picture follows at once; Python is told when the hand rests. */
function change(model, name, value) {
  model.set(name, value);
  clearTimeout(resting.get(model));
  resting.set(model, setTimeout(() => model.save_changes(), REST));
}

function slider(model, { name, low, high, step, base, form }, id) {
  const logarithm = (value) => Number((Math.log(value) / Math.log(base)).toFixed(9));
  const place = base ? logarithm : (value) => value; // rounded, or the last step is beyond the end
  const value = (position) => (base ? base ** position : position);
  const range = { min: place(low), max: place(high), step };
  return sliding(model, name, id, range, {
    value: (position) => Math.min(Math.max(value(position), low), high),
    place,
    text: (current) => format(current, form),
  });
}

function choice(model, { name, options, ordered }, id) {
  const index = (current) => options.findIndex(([value]) => value === current);
  if (ordered) {
    return sliding(model, name, id, { min: 0, max: options.length - 1, step: 1 }, {
      value: (position) => options[position][0],
      place: index,
      text: (current, language) => options[index(current)][1][language],
    });
  }
  const select = element("select", { id, ...QUIET }, ...options.map(() => element("option")));
  select.addEventListener("change", () => change(model, name, options[select.selectedIndex][0]));
  const label = element("label", { for: id });
  const box = element("div", { class: "kdlab-control" }, label, select);
  function show(say, language) {
    label.textContent = say(name);
    options.forEach(([, text], n) => (select.options[n].textContent = text[language]));
    select.selectedIndex = index(model.get(name));
  }
  return { box, show };
}

function sliding(model, name, id, range, { value, place, text }) {
  const input = element("input", { id, type: "range", ...range, ...QUIET });
  const label = element("label", { for: id });
  const readout = element("span", { class: "kdlab-value", "aria-hidden": "true" });
  const head = element("div", { class: "kdlab-head" }, label, readout);
  input.addEventListener("input", () => change(model, name, value(Number(input.value))));
  function show(say, language) {
    const current = model.get(name);
    label.textContent = say(name);
    readout.textContent = text(current, language);
    input.setAttribute("aria-valuetext", readout.textContent);
    input.value = place(current);
    const share = (input.value - range.min) / (range.max - range.min);
    input.style.setProperty("--share", share);
  }
  return { box: element("div", { class: "kdlab-control kdlab-slider" }, head, input), show };
}

function checkbox(model, { name }, id) {
  const input = element("input", { id, type: "checkbox", ...QUIET });
  const label = element("label", { for: id });
  input.addEventListener("change", () => change(model, name, input.checked));
  function show(say) {
    label.textContent = say(name);
    input.checked = model.get(name);
  }
  return { box: element("div", { class: "kdlab-control kdlab-check" }, input, label), show };
}

/** Each press makes the number larger by one. */
function button(model, { name }, id) {
  const pressed = element("button", { id, type: "button", ...QUIET });
  pressed.addEventListener("click", () => change(model, name, model.get(name) + 1));
  const show = (say) => (pressed.textContent = fill(say(name), { number: model.get(name) }));
  return { box: element("div", { class: "kdlab-control" }, pressed), show };
}

function languageSwitch(model) {
  const box = element("div", { class: "kdlab-languages", role: "group", "aria-label": "Language" });
  const buttons = Object.entries(LANGUAGES).map(([code, name]) => {
    const lang = code === "zh" ? "zh-Hans" : code;
    const button = element("button", { type: "button", lang, ...QUIET }, name);
    button.addEventListener("click", () => change(model, "language", code));
    box.append(button);
    return [code, button];
  });
  const show = () =>
    buttons.forEach(([code, b]) => b.setAttribute("aria-pressed", code === model.get("language")));
  return { box, show };
}
