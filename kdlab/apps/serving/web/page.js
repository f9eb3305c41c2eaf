// The distilled student and its teacher in the browser: nothing leaves this device.
"use strict";

const TEXT = {
  title: ["A distilled student in your browser", "浏览器里的蒸馏学生模型"],
  draw: ["Draw a digit", "手写数字"],
  photo: ["Pick a photo", "选张照片"],
  clear: ["Clear", "清除"],
  keys: ["Finger or mouse. Keyboard: arrows move, Space lowers or lifts the pen, Delete clears.",
    "用手指或鼠标书写。键盘：方向键移动，空格键落笔或抬笔，Delete 键清除。"],
  pad: ["Drawing pad", "手写板"],
  pick: ["A photo of your own (it stays on this device):", "你自己的照片（不会离开本机）："],
  samples: ["Or an image of the CIFAR-10 test set:", "或 CIFAR-10 测试集中的一张图："],
  ten: ["The models know ten things: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, "
    + "truck. Whatever you show them, they name one of these.",
    "模型只认识十类：飞机、汽车、鸟、猫、鹿、狗、青蛙、马、船、卡车。无论给它看什么，它都只会从中选一个。"],
  seen: ["What the models see", "模型看到的图像"],
  temperature: ["Temperature T =", "温度 T ="],
  distilled: ["Distilled student", "蒸馏学生模型"],
  teacher: ["Teacher", "教师模型"],
  loading: ["Loading …", "加载中……"],
  empty: ["Draw something.", "请写一个数字。"],
  failed: ["This cannot be shown: ", "无法显示："],
  unreadable: ["This file is not an image that your browser can read.", "浏览器无法读取该图片文件。"],
  says: ["Student: {0}. Teacher: {1}.", "学生模型：{0}。教师模型：{1}。"],
};
const ROLES = ["distilled", "teacher"];
const OURS = ["mnist", "cifar10"];  // others are somebody's own photos
const $ = (id) => document.getElementById(id);
let language = 0, data = "mnist", photos = "cifar10", pixels = null, answering = false, stale = false;
const nets = {};  // data -> role -> {session, shape, classes, bytes, logits, milliseconds}

const say = (key) => TEXT[key][language];

// ---- models ------------------------------------------------------------------------------------

const known = fetch("models").then((answer) => answer.json());

async function load(kind) {
  if (nets[kind]) return;
  nets[kind] = {};
  const all = await known;
  for (const role of ROLES) $(role).hidden = !all.some((a) => a.data === kind && a.role === role);
  for (const role of ROLES) {  // the student first: it is there at once
    const about = all.find((a) => a.data === kind && a.role === role);
    if (!about) continue;
    const file = await fetch(`models/${about.name}.onnx`);
    if (!file.ok) throw new Error(`${about.name}: ${file.status}`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    const size = about.shape.reduce((a, b) => a * b);
    await session.run({ pixels: new ort.Tensor("uint8", new Uint8Array(size), [1, ...about.shape]) });
    nets[kind][role] = { ...about, session };  // warmed up: the first run is slower
    await answer();
  }
}

function soften(logits, temperature) {
  const top = Math.max(...logits);
  const raised = Array.from(logits, (z) => Math.exp((z - top) / temperature));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((r) => r / sum);
}

async function answer() {
  if (answering) { stale = true; return; }
  answering = true;
  do {
    stale = false;
    const shown = pixels, kind = data;
    for (const net of Object.values(nets[kind] || {})) {
      if (!shown || shown.length !== net.shape.reduce((a, b) => a * b)) { net.logits = null; continue; }
      const tensor = new ort.Tensor("uint8", shown, [1, ...net.shape]);
      const start = performance.now();
      net.logits = (await net.session.run({ pixels: tensor })).logits.data;
      net.milliseconds = performance.now() - start;
    }
  } while (stale);
  answering = false;
  show();
}

// ---- what is shown -----------------------------------------------------------------------------

function show() {
  const temperature = 2 ** Number($("temperature").value);
  $("t").textContent = temperature.toFixed(2);
  $("temperature").setAttribute("aria-valuetext", `T = ${temperature.toFixed(2)}`);
  const said = [];
  for (const role of ROLES) {
    const net = (nets[data] || {})[role], box = $(role), list = box.querySelector("ol");
    if (!net) { box.querySelector(".about").textContent = say("loading"); list.replaceChildren(); continue; }
    if (list.children.length !== net.classes.length || list.dataset.kind !== data) fill(list, net);
    const shares = net.logits ? soften(net.logits, temperature) : net.classes.map(() => 0);
    const best = shares.indexOf(Math.max(...shares));
    shares.forEach((share, i) => {
      const row = list.children[i];
      row.classList.toggle("top", Boolean(net.logits) && i === best);
      row.querySelector(".bar span").style.width = `${100 * share}%`;
      row.querySelector(".share").textContent = net.logits ? percent(share) : "";
    });
    box.dataset.label = net.logits ? net.classes[best] : "";
    const took = net.logits ? ` · ${net.milliseconds.toFixed(net.milliseconds < 10 ? 2 : 0)} ms` : "";
    box.querySelector(".about").textContent = `${(net.bytes / 1e3).toLocaleString("en", { maximumFractionDigits: 0 })} kB${took}`;
    if (net.logits) said.push(net.classes[best]);
  }
  const words = said.length === 2 ? say("says").replace("{0}", said[0]).replace("{1}", said[1]) : "";
  $("says").textContent = pixels ? words : data === "mnist" ? say("empty") : "";
}

const percent = (share) => (share > 0.9995 ? "100%" : `${(100 * share).toFixed(1)}%`);

function fill(list, net) {
  list.dataset.kind = data;
  list.classList.toggle("words", data !== "mnist");
  list.replaceChildren(...net.classes.map((name) => {
    const row = document.createElement("li"), bar = document.createElement("span");
    const label = document.createElement("span"), share = document.createElement("span");
    label.textContent = name;
    bar.className = "bar";
    bar.append(document.createElement("span"));
    share.className = "share";
    row.append(label, bar, share);
    return row;
  }));
}

function preview(shape) {
  const [channels, height, width] = shape, canvas = $("seen"), size = height * width;
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels ? pixels[(channels === 3 ? c : 0) * size + i] : 0;
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// ---- drawing -----------------------------------------------------------------------------------

const pad = $("pad"), pen = pad.getContext("2d", { willReadFrequently: true });
let down = false, last = null, cursor = [140, 140], lowered = false, due = false;

function blank() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, 280, 280);
  lowered = false;
  read();
}

function stroke(from, to) {
  pen.strokeStyle = "#fff";
  pen.lineWidth = 22;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  if (!due) requestAnimationFrame(() => { due = false; read(); });
  due = true;
}

// As MNIST was made: the ink's box scaled to 20 pixels, its centre of mass in the middle of 28 x 28.
function centred(ink, side) {
  let left = side, right = -1, top = side, bottom = -1;
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) if (ink[y * side + x] > 40) {
    left = Math.min(left, x); right = Math.max(right, x);
    top = Math.min(top, y); bottom = Math.max(bottom, y);
  }
  if (right < 0) return null;
  const scale = 20 / Math.max(right - left + 1, bottom - top + 1);
  let mass = 0, cx = 0, cy = 0;
  for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) {
    const m = ink[y * side + x];
    mass += m; cx += m * (x + .5); cy += m * (y + .5);
  }
  cx /= mass; cy /= mass;
  const out = new Uint8Array(784), step = 1 / scale;
  for (let v = 0; v < 28; v++) for (let u = 0; u < 28; u++) {  // the mean over a pixel's square
    const x0 = cx + (u - 14) * step, y0 = cy + (v - 14) * step;
    let sum = 0, count = 0;
    for (let y = Math.floor(y0); y < y0 + step; y++) for (let x = Math.floor(x0); x < x0 + step; x++) {
      const weight = (Math.min(x + 1, x0 + step) - Math.max(x, x0)) * (Math.min(y + 1, y0 + step) - Math.max(y, y0));
      count += weight;
      if (x >= 0 && y >= 0 && x < side && y < side) sum += weight * ink[y * side + x];
    }
    out[v * 28 + u] = Math.round(sum / count);
  }
  return out;
}

function read() {
  const rgba = pen.getImageData(0, 0, 280, 280).data, ink = new Uint8Array(280 * 280);
  for (let i = 0; i < ink.length; i++) ink[i] = rgba[4 * i];
  pixels = centred(ink, 280);
  preview([1, 28, 28]);
  answer();
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) * 280 / box.width, (event.clientY - box.top) * 280 / box.height];
}

pad.addEventListener("pointerdown", (event) => {
  down = true;
  pad.setPointerCapture(event.pointerId);
  last = cursor = place(event);
  stroke(last, last);
});
pad.addEventListener("pointermove", (event) => {
  if (!down) return;
  for (const e of event.getCoalescedEvents?.() || [event]) { const at = place(e); stroke(last, at); last = at; }
  cursor = last;
});
for (const kind of ["pointerup", "pointercancel"]) pad.addEventListener(kind, () => { down = false; });
pad.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 4 : 12, [x, y] = cursor;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key]) {
    const [dx, dy] = moves[event.key];
    const to = [Math.min(268, Math.max(12, x + dx)), Math.min(268, Math.max(12, y + dy))];
    if (lowered) stroke(cursor, to);
    cursor = to;
  } else if (event.key === " ") {
    lowered = !lowered;
    if (lowered) stroke(cursor, cursor);
  } else if (event.key === "Delete" || event.key === "Backspace") { blank(); cursor = [140, 140]; } else return;
  event.preventDefault();
});
$("clear").addEventListener("click", () => { blank(); pad.focus({ preventScroll: true }); });

// ---- photos ------------------------------------------------------------------------------------

// The middle square of an image, averaged down to what the model takes: red, green, blue planes.
function planes(image, width, height, goal) {
  const side = Math.min(width, height), canvas = document.createElement("canvas");
  let size = side, source = image, x = (width - side) / 2, y = (height - side) / 2;
  while (size > 2 * goal) {  // halves first: a browser looks at few pixels when it shrinks in one go
    const half = Math.max(goal, Math.floor(size / 2)), step = document.createElement("canvas");
    step.width = step.height = half;
    step.getContext("2d").drawImage(source, x, y, size, size, 0, 0, half, half);
    [source, size, x, y] = [step, half, 0, 0];
  }
  canvas.width = canvas.height = goal;
  const brush = canvas.getContext("2d");
  brush.imageSmoothingQuality = "high";
  brush.drawImage(source, x, y, size, size, 0, 0, goal, goal);
  const area = goal * goal, rgba = brush.getImageData(0, 0, goal, goal).data;
  const out = new Uint8Array(3 * area);
  for (let i = 0; i < area; i++) for (let c = 0; c < 3; c++) out[c * area + i] = rgba[4 * i + c];
  return out;
}

const shapeOf = (kind) => Object.values(nets[kind] || {})[0]?.shape || [3, 32, 32];

function look(image, width, height) {
  const shape = shapeOf(data);
  pixels = planes(image, width, height, shape[1]);
  preview(shape);
  answer();
}

$("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  try {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    tell("");
    look(image, image.width, image.height);
  } catch { tell(say("unreadable"), true); }
});

async function samples() {
  const sheet = new Image();
  sheet.src = "samples.png";
  await sheet.decode();
  for (let i = 0; i < sheet.width / 32; i++) {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    canvas.width = canvas.height = 32;
    canvas.getContext("2d").drawImage(sheet, 32 * i, 0, 32, 32, 0, 0, 32, 32);
    button.type = "button";
    button.setAttribute("aria-label", `CIFAR-10 test image ${i + 1}`);
    button.append(canvas);
    button.addEventListener("click", () => look(canvas, 32, 32));
    $("samples").append(button);
  }
}

// ---- the page ----------------------------------------------------------------------------------

function tell(words, failed = false) {
  $("status").textContent = words;
  $("status").classList.toggle("failed", failed);
}

async function choose(kind) {
  data = kind;
  pixels = null;
  const drawing = kind === "mnist";
  for (const id of ["pad", "clear", "keys"]) $(id).hidden = !drawing;
  $("photo").hidden = drawing;
  $("ten").hidden = data !== "cifar10";
  $("show-draw").setAttribute("aria-pressed", drawing);
  $("show-photo").setAttribute("aria-pressed", !drawing);
  show();
  if (drawing) blank(); else preview(shapeOf(kind));
  try {
    tell(nets[kind] ? "" : say("loading"));
    await load(kind);
    tell("");
    document.body.dataset.ready = kind;
  } catch (error) {
    delete nets[kind];
    tell(say("failed") + error.message, true);
  }
  show();
}

function translate() {
  document.documentElement.lang = language ? "zh" : "en";
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text);
  $("language").textContent = language ? "English" : "中文";
  $("language").lang = language ? "en" : "zh";
  pad.setAttribute("aria-label", say("pad"));
  $("seen").setAttribute("aria-label", say("seen"));
  show();
}

$("language").addEventListener("click", () => { language = 1 - language; translate(); });
$("show-draw").addEventListener("click", () => choose("mnist"));
$("show-photo").addEventListener("click", () => choose(photos));
$("temperature").addEventListener("input", show);
ort.env.wasm.numThreads = 1;  // more need headers that a phone on plain HTTP cannot have
ort.env.wasm.wasmPaths = new URL("./", document.baseURI).href;
translate();
samples().catch((error) => tell(say("failed") + error.message, true));
known.then((all) => {
  const own = all.find((about) => !OURS.includes(about.data));
  if (!own || all.some((about) => OURS.includes(about.data))) return choose("mnist");
  photos = own.data;  // nothing here can read a digit, and its samples are of other classes
  for (const part of [$("show-draw"), $("samples"), $("samples").previousElementSibling]) part.hidden = true;
  return choose(photos);
}).catch((error) => tell(say("failed") + error.message, true));
