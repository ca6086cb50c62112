// Turn numbers, units and times into what a person reads. Pure: no page, no clock of its own.

const NB = "\u00a0"; // between a number and its unit, never a line break
const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Three significant digits, thousands grouped, no trailing zeros. */
export function digits(value, significant = 3) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -6) return value.toExponential(1);
  const places = Number.isInteger(value) ? 0 : Math.min(6, Math.max(0, significant - 1 - size));
  const text = value.toFixed(places);
  const [whole, part = ""] = text.split(".");
  const kept = part.replace(/0+$/, "");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
  return kept ? `${grouped}.${kept}` : grouped;
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DECIMAL = ["", "k", "M", "G", "T"];

function binary(largest) {
  let step = 0;
  while (largest >= 1024 && step < BINARY.length - 1) [largest, step] = [largest / 1024, step + 1];
  return { factor: 1 / 1024 ** step, unit: BINARY[step] };
}

function seconds(largest) {
  if (largest === 0 || largest >= 1) {
    if (largest >= 2 * 86400) return { factor: 1 / 86400, unit: "d" };
    if (largest >= 2 * 3600) return { factor: 1 / 3600, unit: "h" };
    if (largest >= 300) return { factor: 1 / 60, unit: "min" };
    return { factor: 1, unit: "s" };
  }
  if (largest >= 1e-3) return { factor: 1e3, unit: "ms" };
  return { factor: 1e6, unit: "µs" };
}

function decimal(largest, unit) {
  let step = 0;
  while (largest >= 10000 && step < DECIMAL.length - 1) [largest, step] = [largest / 1000, step + 1];
  return { factor: 1 / 1000 ** step, unit: DECIMAL[step] + unit };
}

const NOT_A_SHARE = /load_average|strangeness|(^|[._])(count|queue|depth|running|waiting|number)([._]|$)/;
// Answers of yes (1) or no (0), whatever stands before them in the name.
const YES_OR_NO =
  /[._](up|read_only|responding|healthy|synchronized|tainted|available|degraded|failed|online|pending|ecc|truncated|throttled|state)$/;

/**
 * Say how a series is measured: `{scale(largest) -> {factor, unit}, share, bytes}`.
 * A counter arrives as a rate per second, so time spent per second is a share of the time.
 */
export function measure(unit, kind, name = "") {
  let plain = String(unit ?? "").trim();
  let rate = kind === "counter";
  if (plain.endsWith("/s")) [plain, rate] = [plain.slice(0, -2), true];
  const per = rate ? "/s" : "";
  if (rate && plain === "s") return { share: true, scale: () => ({ factor: 100, unit: "%" }) };
  if (plain === "1" && !rate && !NOT_A_SHARE.test(name) && !YES_OR_NO.test(name))
    return { share: true, scale: () => ({ factor: 100, unit: "%" }) };
  if (plain === "By") {
    return {
      bytes: true,
      scale: (largest) => {
        const found = binary(largest);
        return { factor: found.factor, unit: found.unit + per };
      },
    };
  }
  if (plain === "s") return { scale: seconds };
  if (plain === "ms") return { scale: (largest) => rescale(seconds(largest / 1e3), 1e-3) };
  if (plain === "us") return { scale: (largest) => rescale(seconds(largest / 1e6), 1e-6) };
  if (plain === "ns") return { scale: (largest) => rescale(seconds(largest / 1e9), 1e-9) };
  if (plain === "%") return { scale: () => ({ factor: 1, unit: "%" }), percent: true };
  const word = { Cel: "°C", 1: "" }[plain] ?? plain.replace(/^\{(.*)\}$/, (_, one) => several(one));
  // A word ("threads") stands once beside the title, not at every value.
  const short = word.length <= 2;
  return {
    word: short ? "" : word.replace(/_/g, " ") + per,
    free: word === "°C" || word === "Hz" || word === "V", // an axis from 0 would hide what moves
    scale: (largest) => decimal(largest, short ? word + per : per),
  };
}

const several = (word) =>
  /(s|x|ch)$/.test(word) ? `${word}es` : /[^aeiou]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`;

const rescale = (found, by) => ({ factor: found.factor * by, unit: found.unit });

/** One value with its unit: `34.2 %`, `1.2 GiB`, `3 ms`. */
export function quantity(value, how, largest = Math.abs(value)) {
  if (!isNumber(value)) return "–";
  const { factor, unit } = how.scale(Math.abs(largest));
  const number = digits(value * factor);
  return unit ? `${number}${NB}${unit}` : number;
}

export const bytes = (value) => quantity(value, measure("By"));
export const percent = (value) =>
  isNumber(value) ? `${value > 0 && value < 0.095 ? digits(value * 100, 2) : Math.round(value * 100)}${NB}%` : "–";

/** `1 host`, `3 hosts`. */
export const plural = (count, one, many = `${one}s`) => `${whole(count)}${NB}${count === 1 ? one : many}`;

/** An integer with its thousands grouped. */
export const whole = (count) => (isNumber(count) ? digits(Math.round(count), 99) : "–");

/** A length of time: `42 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`. */
export function duration(ms) {
  if (!isNumber(ms)) return "–";
  const past = Math.max(0, ms);
  if (past < SECOND) return `${Math.round(past)}${NB}ms`;
  if (past < MINUTE) return `${Math.round(past / SECOND)}${NB}s`;
  const parts = [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [SECOND, "s"]];
  const first = parts.findIndex(([size]) => past >= size);
  const [size, word] = parts[first];
  const whole = Math.floor(past / size);
  const [small, smallWord] = parts[first + 1];
  const rest = Math.floor((past - whole * size) / small);
  const exact = rest && !(word === "min" && whole >= 10);
  return `${whole}${NB}${word}${exact ? ` ${rest}${NB}${smallWord}` : ""}`;
}

/** How long ago, in one unit: `now`, `4 s ago`, `3 min ago`. */
export function ago(then, now) {
  if (!isNumber(then) || then <= 0) return "never";
  const past = now - then;
  if (past < -2 * SECOND) return `in ${duration(-past)}`;
  if (past < SECOND) return "now";
  for (const [size, word] of [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"], [SECOND, "s"]])
    if (past >= size) return `${Math.floor(past / size)}${NB}${word} ago`;
  return "now";
}

const two = (n) => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `14:32` or `14:32:05`, local time. */
export function clock(ms, withSeconds = false) {
  const d = new Date(ms);
  const text = `${two(d.getHours())}:${two(d.getMinutes())}`;
  return withSeconds ? `${text}:${two(d.getSeconds())}` : text;
}

export function day(ms) {
  const d = new Date(ms);
  return `${d.getDate()}${NB}${MONTHS[d.getMonth()]}`;
}

/** The time, with the day when it is not today's. */
export function moment(ms, now, withSeconds = true) {
  if (!isNumber(ms) || ms <= 0) return "–";
  const d = new Date(ms), today = new Date(now);
  const text = clock(ms, withSeconds);
  if (d.toDateString() === today.toDateString()) return text;
  const year = d.getFullYear() === today.getFullYear() ? "" : ` ${d.getFullYear()}`;
  return `${day(ms)}${year} ${text}`;
}

/** A date for a `title` attribute: nothing left out. */
export function exact(ms) {
  if (!isNumber(ms) || ms <= 0) return "";
  const d = new Date(ms);
  const offset = -d.getTimezoneOffset();
  const zone = `${offset < 0 ? "−" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms, true)} ${zone}`;
}

const TIME_STEPS = [
  10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
];

/** Round local times between two instants: `[{t, text}]`, about `count` of them. */
export function timeTicks(from, to, count) {
  const step = TIME_STEPS.find((size) => (to - from) / size <= count) ?? 14 * DAY;
  const zone = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let t = Math.ceil((from - zone) / step) * step + zone; t <= to; t += step) {
    const d = new Date(t);
    const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
    ticks.push({ t, text: midnight && step >= HOUR ? day(t) : clock(t, step < MINUTE) });
  }
  return ticks;
}

/** Round values between low and high: `{low, high, ticks}`; bytes step in powers of two. */
export function valueTicks(low, high, count, how) {
  const { factor } = how.scale(Math.max(Math.abs(low), Math.abs(high)));
  const span = Math.max((high - low) * factor, 1e-12);
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    how.bytes && rough > 8
      ? 2 ** Math.ceil(Math.log2(rough) - 0.01)
      : ([1, 2, 2.5, 5, 10].map((base) => base * power).find((size) => size >= rough * 0.999) ?? rough);
  const first = Math.floor((low * factor) / step + 1e-9), last = Math.ceil((high * factor) / step - 1e-9);
  const ticks = [];
  for (let i = first; i <= last; i += 1) ticks.push((i * step) / factor);
  return { low: ticks[0], high: ticks[ticks.length - 1], ticks };
}

/** The part of a series' name that tells it from its siblings. */
export function attributesText(attributes, key = "") {
  const values = Object.values(attributes ?? {});
  return values.length ? values.join(" · ") : key;
}
