// The evidence of one incident on one time axis: what happened in lanes, below them the readings.

import * as api from "./api.js";
import { TimeChart } from "./chart.js";
import { clean, h, redraw } from "./dom.js";
import { clock, exact, isNumber, measure, moment, plural } from "./format.js";
import { fromRows } from "./points.js";

const LEFT = 74, RIGHT = 8; // of every plot, so that a moment stands below itself
const BEFORE_MS = 600_000, AFTER_MS = 300_000; // what an agent ships of raw readings
const SETTLED_MS = 20 * 60_000; // after the onset, nothing that is shown beside it changes any more
const MARKS = 24; // vertical lines through all charts
const LANE_MARKS = 60;
const BESIDE_EVERY_MS = 60_000;
/** What is shown beside the evidence, from the reports: metric, title, which series. */
const BESIDE = [
  ["vedette.cpu.busy", "CPU busy"],
  ["system.memory.utilization", "Memory used", (a) => (a["system.memory.state"] ?? "used") === "used"],
  ["hw.gpu.utilization", "GPU busy"],
  ["hw.gpu.memory.utilization", "GPU memory used"],
  ["vedette.model.requests", "Requests by outcome"],
  ["vedette.model.requests.waiting", "Requests waiting"],
  ["gen_ai.server.time_to_first_token", "Time to first token"],
  ["gen_ai.server.request.duration", "Request duration"],
  ["vedette.model.request.duration", "Request duration, models that do not generate"],
  ["vedette.model.kv_cache.utilization", "KV cache used"],
  ["vedette.log.troubles", "Warnings and errors in logs"],
];
const LANES = [["suspect", "Suspects"], ["change", "Changes"], ["incident", "Incidents"], ["log", "Log lines"]];
const GROUPS = [["model", "Models", /^(vedette\.model\.|gen_ai\.)/], ["gpu", "GPU", /^(hw\.gpu\.|vedette\.gpu\.)/], ["log", "Logs", /^vedette\.log\./], ["host", "Host", /./]];
const groupOf = (name) => GROUPS.find(([, , pattern]) => pattern.test(name))[0];
const nameOf = (key) => String(key).split("{")[0];

export class EvidenceAxis {
  charts = [];
  beside = new Map();

  constructor(agent) {
    this.agent = agent;
    this.lanes = h("div", { class: "lanes", role: "group", "aria-label": "What happened, on the time axis of the charts" });
    this.tracks = h("div", { class: "tracks aligned" });
    this.others = h("div", { class: "beside aligned" });
    this.node = h("div", { class: "evidence-axis" }, this.lanes, this.tracks, this.others);
  }

  destroy() {
    for (const chart of this.charts) chart.destroy();
    for (const { chart } of this.beside.values()) chart.destroy();
  }

  /** Show an incident with `events`: `[{t, kind, text, href, mark}]`, `mark` is what stands on it. */
  set(incident, events) {
    Object.assign(this, { incident, events });
    this.tracked = (incident.evidence ?? []).filter((track) => track.values?.length);
    this.span = this.#span();
    this.#lanes();
    this.#tracks();
    this.#drawBeside();
  }

  #span() {
    const one = this.incident;
    const begin = one.onset_ms || one.opened_ms;
    let from = begin - BEFORE_MS, to = begin + AFTER_MS;
    if (this.tracked.length) {
      from = Math.min(...this.tracked.map((track) => track.start_ms));
      to = Math.max(...this.tracked.map((track) => track.start_ms + track.step_ms * (track.values.length - 1)));
    }
    for (const ms of [one.onset_ms, one.opened_ms, one.resolved_ms])
      if (isNumber(ms) && ms > to && ms - to < (to - from) / 3) to = ms + (to - from) / 40;
    return { from, to: Math.max(to, from + 1000) };
  }

  #moments() {
    const one = this.incident;
    return [{ t: one.onset_ms, text: "Onset", kind: "onset" }, { t: one.opened_ms, text: "Opened", kind: "opened" }, { t: one.resolved_ms, text: "Resolved", kind: "resolved" }]
      .filter(({ t }) => isNumber(t));
  }

  #marks() {
    const { from, to } = this.span;
    const few = this.events.filter((one) => one.kind !== "log" && one.t >= from && one.t <= to).slice(0, MARKS);
    return [...few.map((one) => ({ t: one.t, text: one.text, kind: `event ${one.kind}` })), ...this.#moments()];
  }

  #lanes() {
    const { from, to } = this.span;
    const now = api.serverNow();
    const place = (t) => `${((t - from) / (to - from)) * 100}%`;
    const inside = this.events.filter((one) => one.t >= from && one.t <= to);
    const lanes = LANES.filter(([kind]) => inside.some((one) => one.kind === kind));
    redraw(this.lanes, [from, to, inside.map((one) => [one.t, one.kind, one.text, one.mark]), this.#moments()], () => [
      h("div", { class: "lane moments" }, h("span", { class: "lane-word" }), h("div", { class: "lane-line" },
        this.#moments().filter(({ t }) => t >= from && t <= to).map(({ t, text, kind }) => h("span", { class: `moment ${kind}${(kind === "onset" ? t - from > (to - from) / 5 : to - t < (to - from) / 6) ? " left" : ""}`, css: { left: place(t) }, title: `${text} ${exact(t)}` },
          this.#crowded(t, kind) ? "" : `${text} ${clock(t, true)}`)))),
      lanes.map(([kind, word]) => h("div", { class: `lane of-${kind}` }, h("span", { class: "lane-word" }, word), h("div", { class: "lane-line" },
        inside.filter((one) => one.kind === kind).slice(0, LANE_MARKS).map((one) => h(one.href ? "a" : "span", {
          class: `lane-mark ${one.level ?? ""}`, href: one.href ?? null, css: { left: place(one.t) }, title: `${moment(one.t, now)} ${one.text}`, "aria-label": `${moment(one.t, now)} ${one.text}`,
        }, one.mark ?? ""))))),
    ]);
  }

  /** Whether the words of a moment would stand on those of the onset or of the one before. */
  #crowded(t, kind) {
    const { from, to } = this.span;
    const one = this.incident;
    const near = (other) => isNumber(other) && Math.abs(t - other) < (to - from) / 6;
    return (kind !== "onset" && near(one.onset_ms)) || (kind === "resolved" && near(one.opened_ms));
  }

  #tracks() {
    const one = this.incident;
    redraw(this.tracks, [one.onset_ms, one.opened_ms, one.resolved_ms, this.#marks().map((mark) => [mark.t, mark.kind]), this.tracked.map((track) => [track.series, track.start_ms, track.values.length, track.low, track.high])], () => {
      for (const chart of this.charts) chart.destroy();
      this.charts = [];
      if (!this.tracked.length) return h("p", { class: "sub" }, "This incident carries no readings of its own.");
      queueMicrotask(() => this.#draw());
      return GROUPS.map(([group, word]) => {
        const some = this.tracked.filter((track) => groupOf(nameOf(track.series)) === group);
        return some.length ? [GROUPS.length > 1 && this.#groups() > 1 ? h("h3", { class: "axis-group" }, word) : null, some.map((track) => h("div", { class: "card" }, this.#track(track).node))] : [];
      });
    });
  }

  #groups = () => new Set(this.tracked.map((track) => groupOf(nameOf(track.series)))).size;

  #track(track) {
    const name = nameOf(track.series);
    const attributes = String(track.series).slice(name.length).replace(/^\{|\}$/g, "");
    const how = measure(track.unit, "gauge", name);
    const chart = new TimeChart({ title: name, note: clean([attributes, how.word].filter(Boolean).join(" · ")), how, height: 118, left: LEFT, expected: { low: track.low, high: track.high }, markers: this.#marks() });
    chart.heading.classList.add("mono");
    chart.track = track;
    this.charts.push(chart);
    return chart;
  }

  #draw() {
    for (const chart of this.charts) {
      const { track } = chart;
      chart.set({ ...this.span, now: api.serverNow(), series: [{ key: track.series, label: track.series, points: readings(track) }], spans: [] });
    }
  }

  // ------------------------------------------------------------ beside the evidence

  /** Fetch what the reports of that time said of the rest of the host; again while it may grow. */
  async load(signal) {
    const now = Date.now();
    if (this.loadedAt && (now - this.loadedAt < BESIDE_EVERY_MS || (this.settled ??= api.serverNow() - this.incident.onset_ms > SETTLED_MS))) return;
    this.loadedAt = now;
    const { from, to } = this.span;
    const tracked = new Set(this.tracked.map((track) => nameOf(track.series)));
    const answers = await Promise.all(BESIDE.filter(([name]) => !tracked.has(name)).map(async ([name, title, takes]) => {
      const answer = await api.metrics(this.agent, { name, from_ms: Math.floor(from), to_ms: Math.ceil(to) + 60_000 }, signal);
      const series = (answer.series ?? []).filter((one) => !takes || takes(one.attributes)).slice(0, 24)
        .map((one) => ({ key: one.key, label: clean(labelOf(one)), points: fromRows(one.points, one.tails) }))
        .filter((one) => one.points.length > 1);
      return { name, title, series, unit: answer.unit, kind: answer.kind };
    }));
    this.found = answers.filter((one) => one.series.length);
    this.#drawBeside();
  }

  #drawBeside() {
    if (!this.found) return;
    redraw(this.others, this.found.map((one) => one.name), () => {
      for (const { chart } of this.beside.values()) chart.destroy();
      this.beside.clear();
      if (!this.found.length) return [];
      const made = (one) => {
        const how = measure(one.unit, one.kind, one.name);
        const chart = new TimeChart({ title: one.title, note: how.word ?? "", how, height: 92, left: LEFT, markers: [] });
        chart.heading.title = one.name;
        this.beside.set(one.name, { chart });
        return h("div", { class: "card" }, chart.node);
      };
      return [
        h("div", { class: "tools" }, h("h2", null, "The rest of the host meanwhile"), h("span", { class: "tool-count" }, `${plural(this.found.length, "chart")}, by report`)),
        GROUPS.toReversed().map(([group, word]) => {
          const some = this.found.filter((one) => groupOf(one.name) === group);
          return some.length ? [h("h3", { class: "axis-group" }, word), some.map(made)] : [];
        })];
    });
    for (const one of this.found) {
      const chart = this.beside.get(one.name)?.chart;
      if (!chart) continue;
      chart.options.markers = this.#marks();
      chart.set({ ...this.span, now: api.serverNow(), series: one.series, spans: [] });
    }
  }
}

/** The readings of a track as points. What is read each tenth step only is a line, not dots. */
export function readings({ start_ms: start, step_ms: step, values }) {
  const read = [...values.keys()].filter((k) => isNumber(values[k]));
  const apart = read.slice(1).map((k, i) => k - read[i]).sort((a, b) => a - b);
  const usual = apart[apart.length >> 1] ?? 1;
  const points = [];
  let before = -1;
  for (const k of read) {
    if (before >= 0 && k - before > (usual > 1 ? 2.5 * usual : 1)) points.push({ t: start + (before + 1) * step, v: null, lo: null, hi: null, mean: null });
    points.push({ t: start + k * step, v: values[k], lo: values[k], hi: values[k], mean: values[k] });
    before = k;
  }
  return points;
}

const QUIET = new Set(["vedette.model.server", "vedette.model.layer", "system.memory.state"]);
const labelOf = (one) => Object.entries(one.attributes ?? {}).filter(([key]) => !QUIET.has(key)).map(([, value]) => value).filter(Boolean).join(" · ") || "all";

/** Who is suspected: of an event what happened, its name is only the kind of it. */
export const suspectName = (one) => (one.kind === "event" && one.text ? one.text : one.name || one.id || "unnamed");

/** What happened, as marks of one axis: suspects in their order, changes, incidents, log lines. */
export function happenings(incident, events, said) {
  const found = [];
  (incident.suspects ?? []).forEach((one, i) => {
    const t = isNumber(one.time_ns) && one.time_ns > 0 ? one.time_ns / 1e6 : null;
    if (t) found.push({ t, kind: "suspect", mark: String(i + 1), text: `${i + 1}. ${suspectName(one)}${one.text && one.kind !== "event" ? `, ${one.text}` : ""}` });
  });
  for (const one of events ?? [])
    found.push(one.kind === "incident"
      ? { t: one.time_ms, kind: "incident", text: one.text, href: api.incidentLink(one.agent, one.place) }
      : { t: one.time_ms, kind: "change", text: one.text });
  for (const one of said?.said ?? [])
    if (isNumber(one.first_ms)) found.push({ t: one.first_ms, kind: "log", level: one.severity >= 17 ? "critical" : one.severity >= 13 ? "warning" : "", text: `${one.source}: ${one.text}`, href: api.logLink(incident.agent, one.source, one.uid) });
  return found.sort((a, b) => a.t - b.t);
}

/** The furthest reading out of what was expected, of the series that the sentence is about. */
export function worst(incident) {
  const track = (incident.evidence ?? []).find((one) => one.values?.length);
  if (!track) return null;
  const begin = incident.onset_ms || 0;
  let found = null;
  track.values.forEach((v, i) => {
    const t = track.start_ms + i * track.step_ms;
    if (!isNumber(v) || t < begin || (isNumber(incident.resolved_ms) && t > incident.resolved_ms)) return;
    const out = Math.max(isNumber(track.high) ? v - track.high : -Infinity, isNumber(track.low) ? track.low - v : -Infinity);
    const far = Number.isFinite(out) ? out : v;
    if (!found || far > found.far) found = { far, v, t };
  });
  return found && { ...found, track, how: measure(track.unit, "gauge", nameOf(track.series)) };
}

