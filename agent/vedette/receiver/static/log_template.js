// One template of one host's logs: how often it was written, an example, what stood in its slots.

import * as api from "./api.js";
import { TimeChart, crosshair } from "./chart.js";
import { clean, h, icon, redraw } from "./dom.js";
import { digits, exact, isNumber, measure, moment, plural, whole } from "./format.js";
import { exampleLines, gradeBadge, logText } from "./log_words.js";
import { hostName, since, skeleton } from "./words.js";

const MINUTE = 60_000, HOUR = 3_600_000;
// What is kept of windows and of hours; less is shown of what is younger, but not less than this.
const WINDOWS = { most: 2 * HOUR, least: HOUR / 4 }, HOURS = { most: 7 * 24 * HOUR, least: 6 * HOUR };

export class LogTemplateView {
  title = "Template";
  charts = [];

  constructor([agent, source, uid]) {
    Object.assign(this, { agent, source, uid });
  }

  mount(root) {
    this.head = h("header", { class: "incident-head template-head" });
    this.strip = h("section", { class: "strip facts", "aria-label": "Facts" });
    this.history = h("section", { class: "section", "aria-label": "History" });
    this.example = h("section", { class: "section", "aria-label": "Example" });
    this.slots = h("section", { class: "section", "aria-label": "What stood in its slots" });
    root.append(this.head, this.strip, this.history, this.example, this.slots);
    redraw(this.head, "wait", () => [h("a", { class: "crumb", href: api.logsLink(this.agent) }, icon("back"), "Logs"), h("h1", { tabindex: "-1" }, "…")]);
    redraw(this.history, "wait", () => skeleton(2, "chart"));
  }

  destroy() {
    for (const chart of this.charts) chart.destroy();
    crosshair.set(null, null);
  }

  async refresh(signal) {
    const { host } = await api.host(this.agent, signal);
    const wanted = JSON.stringify([host.logs_ms, host.received]);
    this.host = host;
    if (wanted !== this.shown) {
      const answer = await api.logTemplate(this.agent, this.source, this.uid, signal);
      Object.assign(this, { shown: wanted, one: answer.template, newest: answer.newest_ms });
      this.#head();
      this.#example();
      this.#slots();
    }
    this.#history();
  }

  #head() {
    const { one, host } = this;
    const now = api.serverNow();
    redraw(this.head, [one.text, one.severity, one.new, host.host], () => [
      h("a", { class: "crumb", href: api.logsLink(this.agent) }, icon("back"), `Logs of ${hostName(host)}`),
      h("div", { class: "incident-tags" }, gradeBadge(one.severity), one.new ? h("span", { class: "state open" }, "New") : null,
        h("a", { class: "isolate host-link", href: api.logsLink(this.agent, { source: one.source }) }, one.source),
        h("span", { class: "sub mono", title: "the template’s name, the same on every host that saw such a line first" }, one.uid)),
      h("h1", { class: "line-title isolate", tabindex: "-1" }, logText(one.text || "(no text)")),
    ]);
    const tile = (value, word, more) => h("div", { class: "tile" }, h("span", { class: "tile-value" }, value), h("span", { class: "tile-word" }, word), more ? h("span", { class: "sub" }, more) : null);
    redraw(this.strip, [one.hour, one.total, one.since_ms, one.first_ms, one.last_ms], () => [
      tile(whole(one.hour), "events in the last hour"),
      tile(whole(one.total), "events in all", `since ${moment(one.since_ms, now, false)}`),
      tile(h("time", { title: exact(one.first_ms) }, moment(one.first_ms, now)), "first seen"),
      tile(h("time", { title: exact(one.last_ms) }, moment(one.last_ms, now)), "last seen", since(one.last_ms)),
    ]);
  }

  #history() {
    const now = api.serverNow();
    if (!this.charts.length) {
      const make = (title, note) => new TimeChart({ title, note, how: measure("{event}", "gauge"), height: 150 });
      this.charts = [make("By window", "events per minute"), make("By hour", "events per hour")];
      redraw(this.history, "charts", () => [h("h2", null, "How often"), h("div", { class: "tracks" }, this.charts.map((chart) => h("div", { class: "card" }, chart.node)))]);
    }
    const [fine, coarse] = this.charts;
    const show = (chart, span, points) => {
      const known = points.length ? (now - points[0].t) * 1.1 : 0;
      const from = now - Math.min(span.most, Math.max(span.least, known));
      chart.set({ from, to: now, now, series: [{ key: "events", label: "events", points }], spans: [] });
    };
    show(fine, WINDOWS, byWindow(this.one.windows));
    show(coarse, HOURS, byHour(this.one.hours, this.newest));
  }

  #example() {
    const text = this.one.exemplar;
    redraw(this.example, text, () => (text ? [h("h2", null, "An example"), h("pre", { class: "command example" }, h("code", null, exampleLines(text))),
      h("p", { class: "sub" }, "From its newest window; what is to be hidden was masked on the host.")] : []));
    this.example.hidden = !text;
  }

  #slots() {
    const slots = this.one.slots ?? [];
    redraw(this.slots, slots, () => (slots.length ? [h("h2", null, "What stood in its slots"),
      h("div", { class: "lists" }, slots.map((slot) => this.#slot(slot)))] : []));
    this.slots.hidden = !slots.length;
  }

  #slot(slot) {
    const row = (word, value) => h("tr", null, h("th", { scope: "row" }, word), h("td", null, value));
    const numbers = [["Least", slot.min], ["Median", slot.p50], ["95 %", slot.p95], ["99 %", slot.p99], ["Greatest", slot.max],
      ["Mean", isNumber(slot.sum) && slot.count ? slot.sum / slot.count : null]].filter(([, value]) => isNumber(value));
    const top = slot.top ?? [];
    const most = Math.max(1, ...top.map((one) => one.count));
    const said = isNumber(slot.count) ? plural(slot.count, "number") : isNumber(slot.different) ? `about ${plural(Math.round(slot.different), "different value")}` : "";
    return h("div", { class: "panel barlist" }, h("h3", null, h("span", { class: "slot" }, `<${slot.form || "*"}>`), ` slot ${slot.slot + 1}`),
      h("p", { class: "sub" }, [said, slot.looked ? `${whole(slot.looked)} looked at` : ""].filter(Boolean).join(", ")),
      numbers.length ? h("table", { class: "slot-table" }, h("tbody", null, numbers.map(([word, value]) => row(word, digits(value, 4))))) : null,
      top.length ? h("table", { class: "slot-table" }, h("tbody", null, top.map((one) => row(
        h("span", { class: "mono isolate" }, one.value || "(empty)"),
        [whole(one.count), h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: "bar-fill", css: { width: `${(one.count / most) * 100}%` } }))])))) : null);
  }

  summaryTitle() {
    return this.one ? clean(this.one.text).slice(0, 80) : "Template";
  }
}

const point = (t, v) => ({ t, v, lo: v, hi: v, mean: v });

/** Windows as events per minute; between windows that were told, none were. */
export function byWindow(windows) {
  const points = [];
  let edge = null;
  for (const [start, end, count] of windows) {
    if (edge !== null) for (let t = edge + MINUTE; t <= start; t += MINUTE) points.push(point(t, 0));
    points.push(point(end, (count / Math.max(end - start, 1000)) * MINUTE));
    edge = end;
  }
  return points;
}

/** Hours as they are complete; the last one ends where the windows do. */
export function byHour(hours, newest) {
  const points = [];
  let edge = null;
  for (const [start, count] of hours) {
    if (edge !== null) for (let t = edge + HOUR; t < start; t += HOUR) points.push(point(t + HOUR, 0));
    points.push(point(Math.min(start + HOUR, newest), count));
    edge = start;
  }
  return points;
}

