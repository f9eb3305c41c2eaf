/** Numbers: their text as Python would format it, arrays as Python packed them, soft targets. */

const FORM = /^(\+?)(,?)(?:\.(\d+))?([fg%]?)$/;
const WRITERS = new Map(); // specification -> Intl.NumberFormat, which is slow to make

/** A number under a format specification of Python: "+.2f", ",.0f", ".1%", ".3g". */
export function format(value, spec = "") {
  if (typeof value !== "number" || !spec) return String(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "–";
  const [, plus, comma, digits, kind] = FORM.exec(spec);
  let text;
  if (kind === "g") {
    text = String(Number(value.toPrecision(Number(digits))));
  } else {
    const number = kind === "%" ? 100 * value : value;
    text = writer(spec, Number(digits ?? 0), comma === ",").format(number);
    if (kind === "%") text += "%";
  }
  if (!/[1-9]/.test(text)) text = text.replace("-", ""); // no "−0.00"
  const sign = plus && !text.startsWith("-") ? "+" : "";
  return sign + text.replace("-", "−");
}

function writer(spec, digits, useGrouping) {
  if (!WRITERS.has(spec)) {
    const places = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    WRITERS.set(spec, new Intl.NumberFormat("en", { ...places, useGrouping }));
  }
  return WRITERS.get(spec);
}

/** A text with its {name:spec} filled in. */
export function fill(template, values) {
  return template.replace(/\{(\w+):?([^}]*)\}/g, (_, name, spec) => format(values[name], spec));
}

/** Nested arrays from { shape, float32 }: little-endian bytes in base64. */
export function unpack({ shape, float32 }) {
  const bytes = Uint8Array.from(atob(float32), (letter) => letter.charCodeAt(0));
  let rows = Array.from(new Float32Array(bytes.buffer));
  for (const size of shape.slice(1).reverse()) {
    const starts = rows.flatMap((_, n) => (n % size ? [] : [n]));
    rows = starts.map((start) => rows.slice(start, start + size));
  }
  return rows;
}

export const sum = (values) => values.reduce((total, value) => total + value, 0);
export const length = (vector) => Math.sqrt(sum(vector.map((x) => x * x)));
export const indexOfMax = (values) => values.indexOf(Math.max(...values));

/** log softmax(logits / T), exact even where the probability underflows. */
export function logSoften(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  const top = Math.max(...scaled);
  const normaliser = top + Math.log(sum(scaled.map((x) => Math.exp(x - top))));
  return scaled.map((x) => x - normaliser);
}

/** KL(p ‖ q) in nats, both given as logarithms. */
export function divergence(logP, logQ) {
  return sum(logP.map((x, k) => Math.exp(x) * (x - logQ[k])));
}

/** The entropy in nats of a distribution that is given as logarithms. */
export const entropy = (logP) => -sum(logP.map((x) => Math.exp(x) * x));
