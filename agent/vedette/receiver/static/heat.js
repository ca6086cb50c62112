// Draw many similar series (cores) as a heat map: one row each, darker is busier.

import { clean, h, put } from "./dom.js";
import { clock, moment, quantity } from "./format.js";
import { crosshair } from "./chart.js";
import { at } from "./points.js";

/** Same interface as `TimeChart`, for shares of 0 to `max`. */
export class HeatChart {
  constructor(options) {
    this.options = options;
    this.data = { from: 0, to: 1, now: 0, series: [] };
    this.heading = h("h3", { class: "chart-title" }, options.title);
    this.value = h("span", { class: "chart-value" });
    this.range = h("span", { class: "chart-range" });
    this.canvas = h("canvas", { class: "heat", "aria-hidden": "true" });
    this.line = h("span", { class: "heat-line", hidden: true });
    this.plot = h("div", { class: "plot heat-plot", role: "group", "aria-roledescription": "heat map", tabindex: "0" }, this.canvas, this.line);
    this.foot = h("div", { class: "ribbon-ends" });
    this.node = h("figure", { class: "chart" },
      h("figcaption", null, this.heading, h("span", { class: "chart-now" }, this.range, this.value)), this.plot, this.foot);
    this.plot.addEventListener("pointermove", (event) => crosshair.set(this.#timeAt(event), this));
    this.plot.addEventListener("pointerleave", () => crosshair.set(null, null));
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.plot);
    crosshair.charts.add(this);
  }

  destroy() {
    this.sizes.disconnect();
    crosshair.charts.delete(this);
  }

  set(data) {
    this.data = data;
    this.data.series = [...data.series].sort((a, b) => a.label.localeCompare(b.label, "en", { numeric: true }));
    this.draw();
  }

  #timeAt(event) {
    const box = this.plot.getBoundingClientRect();
    return this.data.from + ((event.clientX - box.left) / box.width) * (this.data.to - this.data.from);
  }

  draw() {
    const { from, to, series, now } = this.data;
    const wide = this.plot.clientWidth, tall = this.plot.clientHeight;
    if (!wide || !series.length) return;
    const sharp = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = wide * sharp;
    this.canvas.height = tall * sharp;
    const pen = this.canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.fillStyle = getComputedStyle(this.plot).getPropertyValue("--c0");
    const row = tall / series.length, top = this.options.max ?? 1;
    series.forEach(({ points }, i) => {
      points.forEach((p, j) => {
        if (p.v === null || p.t < from) return;
        const step = j > 0 ? Math.min(p.t - points[j - 1].t, 120_000) : 60_000;
        const x = ((p.t - step - from) / (to - from)) * wide, w = (step / (to - from)) * wide;
        pen.globalAlpha = 0.06 + 0.94 * Math.min(1, Math.max(0, p.v / top));
        pen.fillRect(x, i * row, w + 0.4, Math.max(1, row - (row > 4 ? 1 : 0)));
      });
    });
    put(this.foot, "");
    this.foot.replaceChildren(h("span", null, moment(from, now, false)), h("span", null, `${series.length} rows, pale 0 % to full 100 %`), h("span", null, clock(to)));
    this.plot.setAttribute("aria-label", clean(`${this.options.title}: ${series.length} series as a heat map`));
    this.point(crosshair.t, crosshair.owner === this);
  }

  point(t) {
    const { from, to, series } = this.data;
    const inside = t !== null && t >= from && t <= to;
    this.line.hidden = !inside;
    if (inside) this.line.style.left = `${((t - from) / (to - from)) * 100}%`;
    const values = series.map((one) => (inside ? at(one.points, t) : one.points[one.points.length - 1])?.v).filter((v) => typeof v === "number");
    const { how } = this.options;
    put(this.range, values.length ? `${quantity(Math.min(...values), how).split("\u00a0")[0]} – ${quantity(Math.max(...values), how)}` : "");
    put(this.value, values.length ? quantity(values.reduce((a, b) => a + b, 0) / values.length, how) : "–");
  }
}
