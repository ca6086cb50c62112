// Draw one time chart as SVG: median line, min-max band, gaps, incident spans, shared crosshair.

import { clean, h, put, redraw, s } from "./dom.js";
import { clock, isNumber, moment, quantity, timeTicks, valueTicks } from "./format.js";
import { areaPath, at, decimate, gaps, linePath, lowerBound, round, segments, stack } from "./points.js";

const COLOURS = 8;
const TOP = 10, BOTTOM = 20, RIGHT = 8;
const FEW = 7; // series drawn before the rest hides behind "n more"
const BAND_MAX = 2; // more bands than these on each other say nothing

/** One moment, pointed at in all charts at once. */
class Crosshair {
  charts = new Set();
  t = null;
  owner = null;
  #frame = 0;

  set(t, owner) {
    this.t = t;
    this.owner = owner;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const chart of this.charts) chart.point(this.t, this.owner === chart);
    });
  }
}

export const crosshair = new Crosshair();

let measured = null;
function textWidth(text) {
  measured ??= Object.assign(document.createElement("canvas").getContext("2d"), { font: "11px sans-serif" });
  return measured.measureText(text).width;
}

/**
 * A chart with title, values and legend. `options`: title, note, how (from `measure`), height,
 * stacked, max (fixed top), zero (false: let the axis follow the values), lines (`[{v, text}]`),
 * expected (`{low, high}`), markers (`[{t, text, kind}]`), brush(from, to), gutter (least room for the
 * values' scale), left (that room exactly, where charts stand below each other).
 */
export class TimeChart {
  constructor(options) {
    this.options = { height: 134, ...options };
    this.data = { from: 0, to: 1, now: 0, series: [], spans: [] };
    this.only = null; // the one series shown alone
    this.all = false; // show also what is behind "n more"
    this.value = h("span", { class: "chart-value" });
    this.range = h("span", { class: "chart-range" });
    this.svg = s("svg", { class: "plot-svg", "aria-hidden": "true" });
    this.plot = h("div", {
      class: "plot",
      tabindex: "0",
      role: "group",
      "aria-roledescription": "chart",
      css: { height: `${this.options.height}px` },
    }, this.svg);
    this.legend = h("div", { class: "legend" });
    this.heading = h("h3", { class: "chart-title" }, this.options.title);
    this.node = h("figure", { class: "chart" },
      h("figcaption", null, this.heading,
        this.options.note ? h("span", { class: "chart-note mono" }, this.options.note) : null,
        h("span", { class: "chart-now" }, this.range, this.value)),
      this.plot, this.legend);
    this.#listen();
    this.sizes = new ResizeObserver(() => this.#resized());
    this.sizes.observe(this.plot);
    crosshair.charts.add(this);
  }

  destroy() {
    this.sizes.disconnect();
    crosshair.charts.delete(this);
  }

  /** Show `{from, to, now, series: [{key, label, points}], spans}`; times in ms. */
  set(data) {
    this.data = data;
    this.draw();
  }

  #resized() {
    const width = this.plot.clientWidth;
    if (width && width !== this.width) this.draw();
  }

  #shown() {
    const { series } = this.data;
    if (this.only && series.some((one) => one.key === this.only))
      return series.filter((one) => one.key === this.only);
    return this.all || series.length <= FEW + 1 ? series : series.slice(0, FEW);
  }

  #domain(layers) {
    const { from, to } = this.data;
    const { how, max, zero, lines = [], expected = {}, stacked } = this.options;
    let low = Infinity, high = -Infinity;
    for (const { points } of layers)
      for (const p of points) {
        if (p.t < from || p.t > to || p.v === null) continue;
        low = Math.min(low, stacked ? p.base : p.lo);
        high = Math.max(high, stacked ? p.top : p.hi);
      }
    for (const v of [expected.low, expected.high]) {
      if (!isNumber(v)) continue;
      low = Math.min(low, v);
      high = Math.max(high, v);
    }
    if (low > high) [low, high] = [0, 1];
    for (const line of lines) if (line.v <= high * 2) high = Math.max(high, line.v);
    if (isNumber(max) && high <= max * 1.05) return valueTicks(Math.min(0, low), max, 2, how);
    const free = zero === false || (how.free && low > 0);
    if (!free) [low, high] = [Math.min(0, low), Math.max(0, high)];
    if (high - low < 1e-12) high = low + (Math.abs(low) * 0.1 || (how.share ? 0.01 : 1));
    return valueTicks(low, high, 3, how);
  }

  #frame(axis, unit) {
    const longest = axis.ticks.map((v) => textWidth(quantity(v, this.options.how, unit)));
    this.width = this.plot.clientWidth || 300;
    const left = this.options.left ?? Math.ceil(Math.max(...longest, this.options.gutter ?? 34)) + 8;
    const { from, to } = this.data;
    const across = Math.max(10, this.width - left - RIGHT), down = this.options.height - TOP - BOTTOM;
    this.box = { left, across, down };
    this.x = (t) => left + ((t - from) / (to - from)) * across;
    this.y = (v) => TOP + down - ((v - axis.low) / (axis.high - axis.low || 1)) * down;
  }

  draw() {
    if (!this.plot.isConnected) return;
    const { from, to, series } = this.data;
    const shown = this.#shown();
    const points = shown.map((one) => one.points);
    const layers = this.options.stacked ? stack(points) : points;
    const inView = layers.map((all, i) => ({
      index: series.indexOf(shown[i]),
      points: all.slice(Math.max(0, lowerBound(all, from) - 1), lowerBound(all, to) + 1),
    }));
    const axis = this.#domain(inView);
    const unit = Math.max(Math.abs(axis.low), Math.abs(axis.high));
    this.unit = unit;
    this.#frame(axis, unit);
    const step = ((to - from) / this.box.across) * 2;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.options.height}`);
    this.clip ??= `clip${(TimeChart.count = (TimeChart.count ?? 0) + 1)}`;
    this.svg.replaceChildren(
      s("clipPath", { id: this.clip },
        s("rect", { x: this.box.left, y: TOP - 2, width: this.box.across + 2, height: this.box.down + 4 })),
      ...this.#ground(axis, unit, inView),
      s("g", { "clip-path": `url(#${this.clip})` }, this.#paint(inView, step)),
      ...this.#marks(),
      (this.brushed = s("rect", { class: "brush", y: TOP, height: this.box.down, visibility: "hidden" })),
      (this.line = s("line", { class: "cross", y1: TOP, y2: TOP + this.box.down, visibility: "hidden" })),
      (this.dots = s("g", { class: "dots" })),
      (this.flag = s("g", { class: "flag", visibility: "hidden" })),
    );
    this.#drawLegend(shown);
    this.point(crosshair.t, crosshair.owner === this);
    this.#describe(shown);
  }

  #ground(axis, unit, layers) {
    const { left, across, down } = this.box;
    const { from, to, spans = [] } = this.data;
    const parts = [];
    for (const v of axis.ticks) {
      const y = Math.round(this.y(v)) + 0.5;
      parts.push(
        s("line", { class: v === 0 ? "grid base" : "grid", x1: left, x2: left + across, y1: y, y2: y }),
        s("text", { class: "tick", x: left - 6, y: y + 3.5, "text-anchor": "end" },
          quantity(v, this.options.how, unit)));
    }
    const many = Math.max(2, Math.floor(across / 62));
    for (const { t, text } of timeTicks(from, to, many)) {
      const x = round(this.x(t)), wide = textWidth(text) / 2;
      parts.push(s("line", { class: "notch", x1: x, x2: x, y1: TOP + down, y2: TOP + down + 3 }));
      if (x - wide >= left - 14 && x + wide <= this.width)
        parts.push(s("text", { class: "tick", x, y: this.options.height - 4, "text-anchor": "middle" }, text));
    }
    const longest = layers.reduce((a, b) => (b.points.length > a.length ? b.points : a), []);
    if (!this.options.expected)
      for (const [a, b] of gaps(longest, from, to))
        parts.push(s("rect", {
          class: "void", x: round(this.x(a)), y: TOP, height: down,
          width: Math.max(0, round(this.x(b) - this.x(a))), fill: "url(#hatch)",
        }));
    for (const span of spans) parts.push(this.#span(span));
    return parts.concat(this.#expected());
  }

  #span(span) {
    const { left, across, down } = this.box;
    const a = Math.max(left, this.x(span.from)), b = Math.min(left + across, this.x(span.to));
    if (b < left || a > left + across) return s("g");
    const width = Math.max(2, b - a);
    return s("a", { class: `span ${span.severity}${span.mine ? " mine" : ""}`, href: span.href, tabindex: "-1" },
      s("title", null, span.text),
      span.mine ? s("rect", { class: "span-area", x: round(a), y: TOP, width: round(width), height: down }) : null,
      s("rect", { class: "span-bar", x: round(a), y: TOP - 6, width: round(width), height: 4, rx: 1.5 }),
      s("rect", { class: "span-hit", x: round(a) - 3, y: 0, width: round(width) + 6, height: TOP + 2 }));
  }

  #expected() {
    const { expected, lines = [] } = this.options;
    const { left, across, down } = this.box;
    const parts = [];
    if (expected && (isNumber(expected.low) || isNumber(expected.high))) {
      const top = isNumber(expected.high) ? Math.max(TOP, this.y(expected.high)) : TOP;
      const bottom = isNumber(expected.low) ? Math.min(TOP + down, this.y(expected.low)) : TOP + down;
      parts.push(s("rect", {
        class: "expected", x: left, y: round(top), width: across, height: Math.max(1, round(bottom - top)),
      }));
      for (const v of [expected.low, expected.high])
        if (isNumber(v))
          parts.push(s("line", { class: "expected-edge", x1: left, x2: left + across, y1: round(this.y(v)), y2: round(this.y(v)) }));
    }
    for (const { v, text } of lines) {
      const y = round(this.y(v));
      if (y < TOP - 1) continue;
      parts.push(
        s("line", { class: "limit", x1: left, x2: left + across, y1: y, y2: y }),
        s("text", { class: "limit-text", x: left + 4, y: y < TOP + 12 ? y + 12 : y - 4 }, text));
    }
    return parts;
  }

  #paint(layers, step) {
    const { stacked, expected } = this.options;
    const areas = [], lines = [];
    for (const { index, points } of layers) {
      const colour = `c${index % COLOURS}${index >= COLOURS ? " dashed" : ""}`;
      const parts = segments(points).map((part) => decimate(part, step));
      const restacked = stacked ? segments(points).map((part) => thinStack(part, step)) : parts;
      if (stacked) {
        areas.push(s("path", { class: `layer ${colour}`, d: areaPath(restacked, this.x, (p) => this.y(p.top), (p) => this.y(p.base)) }));
        lines.push(s("path", { class: `line thin ${colour}`, d: linePath(restacked, this.x, (p) => this.y(p.top)) }));
        continue;
      }
      if (layers.length <= BAND_MAX)
        areas.push(s("path", { class: `band ${colour}`, d: areaPath(parts, this.x, (p) => this.y(p.hi), (p) => this.y(p.lo)) }));
      lines.push(s("path", { class: `line ${colour}`, d: linePath(parts, this.x, (p) => this.y(p.v)) }));
      if (expected) lines.push(s("path", { class: "outside", d: this.#outside(parts) }));
    }
    return areas.concat(stacked ? lines.reverse() : lines);
  }

  #outside(parts) {
    const { low, high } = this.options.expected;
    const strange = (p) => (isNumber(high) && p.v > high) || (isNumber(low) && p.v < low);
    const runs = [];
    for (const part of parts) {
      let run = null;
      part.forEach((p, i) => {
        if (!strange(p)) run = null;
        else if (run) run.push(p);
        else runs.push((run = i > 0 ? [part[i - 1], p] : [p]));
      });
    }
    return linePath(runs, this.x, (p) => this.y(p.v));
  }

  #marks() {
    const { down } = this.box;
    return (this.options.markers ?? [])
      .filter(({ t }) => t >= this.data.from && t <= this.data.to)
      .map(({ t, text, kind = "" }) => {
        const x = round(this.x(t));
        return s("g", { class: `mark ${kind}` },
          s("line", { x1: x, x2: x, y1: TOP - 4, y2: TOP + down }),
          s("circle", { cx: x, cy: TOP - 5, r: 2.6 }),
          s("title", null, `${text} ${moment(t, this.data.now)}`));
      });
  }

  #drawLegend(shown) {
    const { series } = this.data;
    const single = series.length < 2;
    const hidden = this.only ? 0 : series.length - shown.length;
    redraw(this.legend, [single, this.only, this.all, hidden, ...series.map((one) => one.key)], () => {
      this.values = new Map();
      if (single) return [];
      const items = (this.only ? series.slice(0, Math.max(FEW, series.length * Number(this.all))) : shown).map((one) => {
        const value = h("span", { class: "legend-value" });
        this.values.set(one.key, value);
        const index = series.indexOf(one);
        return h("button", {
          type: "button",
          class: `legend-item c${index % COLOURS}${this.only && this.only !== one.key ? " off" : ""}`,
          "aria-pressed": this.only === one.key ? "true" : "false",
          title: `${one.label}: show alone`,
          onclick: () => {
            this.only = this.only === one.key ? null : one.key;
            this.draw();
          },
        }, h("span", { class: `swatch${index >= COLOURS ? " dashed" : ""}` }),
        h("span", { class: "legend-label" }, one.label), value);
      });
      if (hidden > 0 || (this.all && !this.only))
        items.push(h("button", {
          type: "button",
          class: "legend-more",
          onclick: () => {
            this.all = !this.all;
            this.draw();
          },
        }, this.all ? "show fewer" : `${hidden} more`));
      return items;
    });
  }

  /** Show the values at `t` (null: the newest), and the line when a person points somewhere. */
  point(t, mine) {
    if (!this.box || !this.plot.isConnected) return;
    const { from, to, now } = this.data;
    const inside = t !== null && t >= from && t <= to;
    const reading = (points) => {
      if (inside) return at(points, t);
      const last = points.length ? points[Math.min(points.length, lowerBound(points, to + 1)) - 1] : null;
      return last && to - last.t < 150_000 ? last : null;
    };
    this.#readout(reading, inside);
    this.line.setAttribute("visibility", inside ? "visible" : "hidden");
    this.flag.setAttribute("visibility", inside && mine ? "visible" : "hidden");
    if (!inside) {
      this.dots.replaceChildren();
      return;
    }
    const x = round(this.x(t));
    this.line.setAttribute("x1", x);
    this.line.setAttribute("x2", x);
    if (mine) this.#wave(x, t, now);
  }

  #readout(reading, inside) {
    const { series } = this.data;
    const { how, stacked } = this.options;
    const shown = this.#shown();
    const found = new Map(shown.map((one) => [one.key, reading(one.points)]));
    const say = (p) => (p ? quantity(stacked ? p.mean : p.v, how) : "–");
    for (const [key, node] of this.values ?? []) {
      const one = found.get(key) ?? null;
      put(node, found.has(key) ? say(one) : "");
    }
    const alone = shown.length === 1 ? found.get(shown[0].key) : null;
    let value = "", range = "";
    if (stacked && series.length > 1) {
      const all = [...found.values()].filter(Boolean);
      value = all.length ? quantity(all.reduce((sum, p) => sum + p.mean, 0), how) : "–";
    } else if (shown.length === 1) {
      value = say(alone);
      if (alone && alone.hi > alone.lo)
        range = `${quantity(alone.lo, how, alone.hi).split("\u00a0")[0]} – ${quantity(alone.hi, how)}`;
    } else if (!series.length) value = "no data";
    put(this.value, value);
    put(this.range, range);
    this.node.classList.toggle("pointed", inside);
    if (!inside) return;
    this.dots.replaceChildren(...(stacked ? [] : shown.slice(0, 12).flatMap((one) => {
      const p = found.get(one.key);
      if (!p) return [];
      return [s("circle", { class: `c${series.indexOf(one) % COLOURS}`, r: 3, cx: round(this.x(Math.min(Math.max(p.t, this.data.from), this.data.to))), cy: round(this.y(p.v)) })];
    })));
  }

  #wave(x, t, now) {
    const text = moment(t, now, true);
    const wide = textWidth(text) + 12;
    const left = Math.min(Math.max(x - wide / 2, 0), this.width - wide);
    this.flag.replaceChildren(
      s("rect", { x: round(left), y: this.options.height - 17, width: round(wide), height: 16, rx: 4 }),
      s("text", { x: round(left + wide / 2), y: this.options.height - 5, "text-anchor": "middle" }, text));
  }

  #describe(shown) {
    const { from, to } = this.data;
    const said = shown.slice(0, 4).map((one) => {
      let lo = Infinity, hi = -Infinity, last = null;
      for (const p of one.points) {
        if (p.t < from || p.t > to || p.v === null) continue;
        lo = Math.min(lo, p.lo);
        hi = Math.max(hi, p.hi);
        last = p.v;
      }
      const { how } = this.options;
      if (last === null) return `${one.label}: no data`;
      return `${one.label}: ${quantity(last, how)} at the end, between ${quantity(lo, how)} and ${quantity(hi, how)}`;
    });
    const text = `${this.options.title}, ${clock(from)} to ${clock(to)}. ${said.join("; ") || "No data"}. Arrow keys move along the time.`;
    this.plot.setAttribute("aria-label", clean(text));
  }

  #timeAt(event) {
    const { left, across } = this.box;
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const share = Math.min(1, Math.max(0, (x - left) / across));
    return this.data.from + share * (this.data.to - this.data.from);
  }

  #listen() {
    let began = null;
    const plot = this.plot;
    plot.addEventListener("pointermove", (event) => {
      if (!this.box) return;
      const t = this.#timeAt(event);
      crosshair.set(t, this);
      if (began !== null) this.#brush(began, t);
    });
    plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch" && began === null) crosshair.set(null, null);
    });
    plot.addEventListener("pointerdown", (event) => {
      if (!this.box) return;
      if (event.pointerType === "touch") crosshair.set(this.#timeAt(event), this);
      else if (event.button === 0 && this.options.brush && !event.target.closest("a")) {
        began = this.#timeAt(event);
        plot.setPointerCapture(event.pointerId);
      }
    });
    plot.addEventListener("pointerup", (event) => {
      if (began === null) return;
      const [a, b] = [began, this.#timeAt(event)].sort((p, q) => p - q);
      began = null;
      this.brushed.setAttribute("visibility", "hidden");
      const wide = this.x(b) - this.x(a);
      if (wide > 8) this.options.brush(Math.floor(a), Math.ceil(b));
    });
    plot.addEventListener("pointercancel", () => {
      began = null;
    });
    plot.addEventListener("blur", () => crosshair.set(null, null));
    plot.addEventListener("keydown", (event) => this.#key(event));
  }

  #brush(a, b) {
    const [from, to] = [a, b].sort((p, q) => p - q);
    this.brushed.setAttribute("visibility", "visible");
    this.brushed.setAttribute("x", round(this.x(from)));
    this.brushed.setAttribute("width", round(this.x(to) - this.x(from)));
  }

  #key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
    const { from, to, now } = this.data;
    const step = (to - from) / 60;
    let t = crosshair.t ?? to;
    if (event.key in steps) t += steps[event.key] * step;
    else if (event.key === "Home") t = from;
    else if (event.key === "End") t = to;
    else if (event.key === "Escape") t = null;
    else return;
    event.preventDefault();
    if (t !== null) t = Math.min(to, Math.max(from, t));
    crosshair.set(t, this);
    if (t === null) return;
    const said = this.#shown().slice(0, 4).map((one) => {
      const p = at(one.points, t);
      return `${one.label} ${p ? quantity(p.v, this.options.how) : "no data"}`;
    });
    put(document.getElementById("spoken"), `${moment(t, now)}: ${said.join(", ")}`);
  }
}

function thinStack(part, step) {
  const tops = decimate(part.map((p) => ({ ...p, v: p.top, lo: p.top, hi: p.top, mean: p.top })), step);
  const bases = decimate(part.map((p) => ({ ...p, v: p.base, lo: p.base, hi: p.base, mean: p.base })), step);
  return tops.map((p, i) => ({ ...p, top: p.mean, base: bases[i].mean }));
}
