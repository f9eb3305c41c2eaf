/**
 * A student that trains in the page: 100-64-10 with ReLU and Adam, an image at a time.
 *
 * It runs in a Worker, in slices of a frame, or in Node; `live_student.py` is the same in PyTorch.
 * Image i of either set shows the digit i % 10.
 *
 * What runs for each image takes a constant a line: `const [a, b] = [c, d]` took half as long again.
 * Four pixels a pass make one visit to a hidden unit of four.
 */
const [DIGITS, HIDDEN, BATCH, RATE] = [10, 64, 32, 0.03];
export const STEPS = 600;
const LOOKS = new Set([50, 100, 200, 400, STEPS]); // steps after which the student is measured
const START = 0, ORDER = 1, LABELLED = 2, SHUFFLE = 3; // what chance decides

// ---- chance: the same numbers in Python

/** Uniform numbers from 0 to 1 by mulberry32, a stream for each seed and purpose. */
export function random(seed, purpose) {
  let state = Math.imul(seed, 0x9e3779b1) + Math.imul(purpose, 0x85ebca77);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffle(items, uniform) {
  for (let last = items.length - 1; last > 0; last--) {
    const other = Math.floor(uniform() * (last + 1));
    const item = items[last];
    items[last] = items[other];
    items[other] = item;
  }
  return items;
}

// ---- data

/** What a page has (base64) as numbers: { pixels, train, test, logits }. */
export function decode({ side, levels, step, train, test, logits }) {
  const pixels = side * side;
  const signed = Int8Array.from(bytes(logits));
  return {
    pixels,
    train: inked(bytes(train), pixels, levels),
    test: inked(bytes(test), pixels, levels),
    logits: Float64Array.from(signed, (level) => level * step),
  };
}

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Image i has the ink `ink[e]` on the pixel `at[e]` for start[i] <= e < start[i + 1]; none fills
 *  them up to a multiple of four. */
function inked(packed, pixels, levels) {
  const [start, at, ink] = [[0], [], []];
  for (let n = 0; n < 2 * packed.length; n++) {
    const level = n % 2 ? packed[n >> 1] >> 4 : packed[n >> 1] & 15;
    if (level) {
      at.push(n % pixels);
      ink.push(level / levels);
    }
    if ((n + 1) % pixels) continue;
    while (at.length % 4) {
      at.push(0);
      ink.push(0);
    }
    start.push(at.length);
  }
  return { count: start.length - 1, start, at: Int32Array.from(at), ink: Float64Array.from(ink) };
}

// ---- losses of one image: each gives its value, and ∂loss/∂z in `slope`

/** The first class with the largest logit. */
export function guess(z) {
  let top = 0;
  for (let k = 1; k < DIGITS; k++) if (z[k] > z[top]) top = k;
  return top;
}

/** q = softmax(z / T). */
export function soften(z, temperature, q) {
  const top = z[guess(z)];
  let sum = 0;
  for (let k = 0; k < DIGITS; k++) sum += q[k] = Math.exp((z[k] - top) / temperature);
  for (let k = 0; k < DIGITS; k++) q[k] /= sum;
  return q;
}

/** Cross-entropy with the label. */
export function hardLoss(z, label, slope) {
  const q = soften(z, 1, slope);
  const loss = -Math.log(q[label]);
  slope[label] -= 1;
  return loss;
}

/** T² KL(p ‖ q) with soft targets p; its slope is T (q - p). */
export function softLoss(z, p, temperature, slope) {
  const q = soften(z, temperature, slope);
  let divergence = 0;
  for (let k = 0; k < DIGITS; k++) {
    if (p[k] > 0) divergence += p[k] * Math.log(p[k] / q[k]);
    slope[k] = temperature * (q[k] - p[k]);
  }
  return temperature ** 2 * divergence;
}

// ---- the net

/** Weights, gradients and Adam's two means, each in one row and, as `w` and `g`, in layers. */
export function makeNet(pixels, seed) {
  const sizes = [pixels * HIDDEN, HIDDEN, HIDDEN * DIGITS, DIGITS];
  const count = sizes.reduce((sum, size) => sum + size);
  const [weights, gradients, mean, square] = [0, 0, 0, 0].map(() => new Float64Array(count));
  const layers = (row) => {
    let end = 0;
    return sizes.map((size) => row.subarray(end, (end += size)));
  };
  const [first, , second] = layers(weights);
  const uniform = random(seed, START);
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  for (let n = 0; n < first.length; n++) first[n] = (1.25 * normal()) / Math.sqrt(pixels);
  for (let n = 0; n < second.length; n++) second[n] = normal() / Math.sqrt(HIDDEN);
  return {
    ...{ weights, gradients, mean, square, steps: 0, w: layers(weights), g: layers(gradients) },
    ...{ hidden: new Float64Array(HIDDEN), z: new Float64Array(DIGITS) },
    ...{ firing: new Int32Array(HIDDEN), slopes: new Float64Array(HIDDEN), fired: 0 },
  };
}

/** The logits of image i: z = W2 relu(W1 x + b1) + b2. */
export function forward(net, { start, at, ink }, i) {
  const { hidden, firing, z } = net;
  const [W1, b1, W2, b2] = net.w;
  hidden.set(b1);
  z.set(b2);
  for (let e = start[i]; e < start[i + 1]; e += 4) {
    const x0 = ink[e], x1 = ink[e + 1], x2 = ink[e + 2], x3 = ink[e + 3];
    const r0 = at[e] * HIDDEN, r1 = at[e + 1] * HIDDEN;
    const r2 = at[e + 2] * HIDDEN, r3 = at[e + 3] * HIDDEN;
    for (let j = 0; j < HIDDEN; j++) {
      hidden[j] += x0 * W1[r0 + j] + x1 * W1[r1 + j] + x2 * W1[r2 + j] + x3 * W1[r3 + j];
    }
  }
  let fired = 0;
  for (let j = 0; j < HIDDEN; j++) if (hidden[j] > 0) firing[fired++] = j;
  net.fired = fired;
  for (let f = 0; f < fired; f++) {
    const a = hidden[firing[f]];
    const row = firing[f] * DIGITS;
    for (let k = 0; k < DIGITS; k++) z[k] += a * W2[row + k];
  }
  return z;
}

/** Adds the gradients of image i, whose logits were the last; units that do not fire pass none. */
export function backward(net, { start, at, ink }, i, slope) {
  const { hidden, firing, slopes, fired } = net;
  const W2 = net.w[2];
  const [G1, g1, G2, g2] = net.g;
  for (let k = 0; k < DIGITS; k++) g2[k] += slope[k];
  for (let f = 0; f < fired; f++) {
    const j = firing[f];
    const a = hidden[j];
    const row = j * DIGITS;
    let sum = 0;
    for (let k = 0; k < DIGITS; k++) {
      G2[row + k] += a * slope[k];
      sum += W2[row + k] * slope[k];
    }
    g1[j] += slopes[f] = sum;
  }
  for (let e = start[i]; e < start[i + 1]; e += 4) {
    const x0 = ink[e], x1 = ink[e + 1], x2 = ink[e + 2], x3 = ink[e + 3];
    const r0 = at[e] * HIDDEN, r1 = at[e + 1] * HIDDEN;
    const r2 = at[e + 2] * HIDDEN, r3 = at[e + 3] * HIDDEN;
    for (let f = 0; f < fired; f++) {
      const j = firing[f];
      const d = slopes[f];
      G1[r0 + j] += x0 * d;
      G1[r1 + j] += x1 * d;
      G1[r2 + j] += x2 * d;
      G1[r3 + j] += x3 * d;
    }
  }
}

/** A step of Adam (Kingma & Ba 2015) with the mean gradient of `count` images. */
export function adam({ weights, gradients, mean, square, steps }, rate, count) {
  const size = rate / (1 - 0.9 ** steps);
  const unbiased = 1 / (1 - 0.999 ** steps);
  for (let n = 0; n < weights.length; n++) {
    const g = gradients[n] / count;
    const m = mean[n] += 0.1 * (g - mean[n]);
    const s = square[n] += 0.001 * (g * g - square[n]);
    weights[n] -= (size * m) / (Math.sqrt(unbiased * s) + 1e-8);
    gradients[n] = 0;
  }
}

// ---- an experiment

/**
 * Trains a student; yields after each step null or what `measure` gives, of a `quiet` job at the
 * end alone.
 *
 * job: { seed, digit, labels, temperature, targets }. No image of `digit` is seen (-1: all are).
 * targets "labels": so many labelled images a digit. Else, without a label, the teacher's answers
 * to all images: "soft" as they are, "shuffled" but for the first guess, "first" that guess alone.
 */
export function* train(data, job) {
  const { seed, digit, targets } = job;
  const hard = targets === "labels";
  const temperature = targets === "first" ? 1 : job.temperature;
  const wanted = hard ? [] : answers(data, job);
  const items = curriculum(data, job);
  const net = makeNet(data.pixels, seed);
  const uniform = random(seed, ORDER);
  const slope = new Float64Array(DIGITS);
  let place = items.length;
  for (let step = 1; step <= STEPS; step++) {
    for (let n = 0; n < BATCH; n++) {
      if (place === items.length) {
        shuffle(items, uniform);
        place = 0;
      }
      const i = items[place++];
      const z = forward(net, data.train, i);
      if (hard) hardLoss(z, i % DIGITS, slope);
      else softLoss(z, wanted[i], temperature, slope);
      backward(net, data.train, i, slope);
    }
    net.steps = step;
    adam(net, RATE * (1 - (step - 1) / STEPS), BATCH);
    const isLook = job.quiet ? step === STEPS : LOOKS.has(step);
    yield isLook ? { step, ...measure(net, data, digit, step === STEPS) } : null;
  }
}

/** The images to be seen; a smaller number of labels is part of a larger one. */
export function curriculum(data, { seed, digit, labels, targets }) {
  const uniform = random(seed, LABELLED);
  const each = data.train.count / DIGITS;
  const items = [];
  for (let c = 0; c < DIGITS; c++) {
    const images = Array.from({ length: each }, (_, n) => DIGITS * n + c);
    shuffle(images, uniform);
    if (c !== digit) items.push(...images.slice(0, targets === "labels" ? labels : each));
  }
  return items;
}

/** The soft targets of all training images, a row each. */
export function answers(data, { seed, temperature, targets }) {
  const uniform = random(seed, SHUFFLE);
  return Array.from({ length: data.train.count }, (_, i) => {
    let logits = data.logits.slice(DIGITS * i, DIGITS * (i + 1));
    const first = guess(logits);
    if (targets === "first") return logits.map((_, k) => Number(k === first));
    if (targets === "shuffled") {
      const others = shuffle([...logits].filter((_, k) => k !== first), uniform);
      logits = logits.map((v, k) => (k === first ? v : others.pop()));
    }
    return soften(logits, temperature, logits.slice());
  });
}

/**
 * { shift, before, after, right }: test images recognised of each digit, without the shift and
 * with it; and which of those that the page shows. Until the `last` look only those are asked.
 */
function measure(net, data, digit, last) {
  const shift = digit < 0 ? 0 : shiftOf(net, data, digit);
  const [before, after, right] = [Array(DIGITS).fill(0), Array(DIGITS).fill(0), []];
  for (let i = 0; i < data.test.count; i++) {
    const label = i % DIGITS;
    if (!last && digit >= 0 && label !== digit) continue;
    const z = forward(net, data.test, i);
    before[label] += guess(z) === label;
    if (digit >= 0) z[digit] += shift;
    const hit = guess(z) === label;
    after[label] += hit;
    if (digit < 0 ? i < 100 : label === digit) right.push(hit);
  }
  return { shift, before, after, right };
}

/**
 * What to add to the digit's logit so that its mean probability is the teacher's, by bisection.
 *
 * The images are those for training, the digit's among them; no label is used.
 */
export function shiftOf(net, data, digit) {
  const rows = Array.from({ length: data.train.count }, (_, i) => i);
  const ours = rows.map((i) => oddsOf(digit, forward(net, data.train, i)));
  const wanted = (data.mass ??= [])[digit] ??= mass(
    rows.map((i) => oddsOf(digit, data.logits.subarray(DIGITS * i, DIGITS * (i + 1)))),
    1,
  );
  let [low, high] = [-50, 50];
  for (let n = 0; n < 40; n++) {
    const middle = (low + high) / 2;
    if (mass(ours, Math.exp(middle)) < wanted) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** p / (1 - p) of a digit. */
function oddsOf(digit, z) {
  let others = 0;
  for (let k = 0; k < DIGITS; k++) if (k !== digit) others += Math.exp(z[k] - z[digit]);
  return 1 / others;
}

/** The sum of the probabilities whose odds are these, times a factor. */
function mass(odds, factor) {
  let sum = 0;
  for (const each of odds) sum += 1 / (1 + 1 / (factor * each));
  return sum;
}

// ---- several at once

/** Trains students side by side, a step each in turn; yields as `train`, with the job's number. */
export function* race(data, jobs) {
  const runs = jobs.map((job) => train(data, job));
  for (let step = 0; step < STEPS; step++) {
    for (const [n, run] of runs.entries()) {
      const { value } = run.next();
      yield value && { n, ...value };
    }
  }
}

/** In a Worker: the data come first, then races as { id, jobs }; a new one ends the one before. */
export function serve() {
  const { port1, port2 } = new MessageChannel();
  const others = () => new Promise((go) => ((port1.onmessage = go), port2.postMessage(0)));
  let [data, current] = [null, 0];
  onmessage = async ({ data: message }) => {
    if (!data) return (data = decode(message));
    current = message.id;
    let rest = performance.now() + 8;
    for (const seen of race(data, message.jobs)) {
      if (seen) postMessage({ id: current, ...seen });
      if (performance.now() < rest) continue;
      await others(); // a newer message, if there is one
      if (current !== message.id) return;
      rest = performance.now() + 8;
    }
  };
}
