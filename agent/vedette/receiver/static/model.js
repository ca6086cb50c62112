// One model wherever it runs: its places, what they told over time, what is known of its servers.

import * as api from "./api.js";
import { TimeChart, crosshair } from "./chart.js";
import { clean, h, icon, keyed, put, redraw } from "./dom.js";
import { digits, duration, exact, isNumber, measure, moment, plural } from "./format.js";
import { RANGES } from "./host.js";
import { LAYERS, errorShare, modelName, notTold, perSecond, quantiles } from "./model_words.js";
import { serverFacts } from "./model_facts.js";
import { Store } from "./store.js";
import { incidentRow, openCounts, severityOf, skeleton, worstFirst } from "./words.js";

const HOSTS = 6; // charted; all are listed
const SERIES_EVERY_MS = 60_000;
const MARKS = 40;
const BAND_MAX = 2; // as the charts: more bands on each other say nothing
const natural = new Intl.Collator("en", { numeric: true });
/** Metric, title, attributes that tell its series apart; in reading order. Others come after. */
const CHARTS = [
  ["vedette.model.requests", "Requests by outcome", ["vedette.model.outcome", "error.type"]],
  ["gen_ai.server.time_to_first_token", "Time to first token"],
  ["gen_ai.server.request.duration", "Request duration"],
  ["vedette.model.request.duration", "Request duration"],
  ["vedette.model.requests.waiting", "Waiting"],
  ["vedette.model.requests.running", "Running"],
  ["vedette.model.kv_cache.utilization", "KV cache used"],
  ["vedette.model.tokens", "Tokens", ["gen_ai.token.type", "vedette.token.source"]],
  ["gen_ai.server.time_per_output_token", "Time per output token"],
  ["vedette.model.inter_token.duration", "Gap between tokens"],
  ["vedette.model.queue.duration", "Time in the queue"],
  ["vedette.model.prefill.duration", "Reading the input"],
  ["vedette.model.decode.duration", "Making the tokens"],
  ["vedette.model.compute.duration", "Time the model worked", ["vedette.model.stage"]],
  ["vedette.model.upstream.duration", "Waiting for who serves it"],
  ["vedette.model.slo.budget.left", "Budget left"],
  ["vedette.model.slo.burn_rate", "Burn rate"],
  ["vedette.model.drift.strength", "Drift"],
  ["vedette.model.batch.size", "Batch size"],
  ["vedette.model.request.tokens", "Tokens of a request", ["gen_ai.token.type"]],
  ["vedette.model.preemptions", "Preemptions"],
  ["vedette.model.prefix_cache.hit_ratio", "Prefix cache hits"],
  ["vedette.model.server.silence", "Server silent for"],
];
const PLACES = ["vedette.model.endpoint", "vedette.model.server", "vedette.model.layer", "gen_ai.request.model", "vedette.model.version"];
/** The same told otherwise, or for machines. */
const HIDDEN = /\.(mean|p95)$|^vedette\.model\.server\.(up|missing)$|\.block\.(size|limit)$/;

/** One chart over the places of the model: loads when seen. */
class Card {
  visible = false;
  stale = true;

  constructor(view, name, title, tell = []) {
    Object.assign(this, { view, name, title, tell });
    this.node = h("div", { class: "card waiting" });
    this.node.card = this;
  }

  async load() {
    if (this.loading) return this.loading;
    const { view } = this;
    const { from, to } = view.span();
    this.loading = Promise.all(view.agents().map((agent) => view.store(agent).load(this.name, from, to)))
      .then(() => {
        this.stale = false;
        this.draw();
      })
      .catch((error) => {
        if (error.name === "AbortError") return;
        if (!this.chart) this.node.replaceChildren(h("p", { class: "card-failed" }, icon("warning"), `${this.title}: ${error.message}`));
      })
      .finally(() => {
        this.loading = null;
      });
    return this.loading;
  }

  #series() {
    const { view } = this;
    const found = [];
    const many = view.spots.length > 1;
    for (const agent of view.agents()) {
      for (const one of view.store(agent).get(this.name)?.series.values() ?? []) {
        if (!view.isMine(agent, one.attributes)) continue;
        const own = this.tell.map((key) => one.attributes[key]).filter(Boolean);
        const more = Object.entries(one.attributes).filter(([key]) => !this.tell.includes(key) && !PLACES.includes(key)).map(([, value]) => value);
        const place = many ? view.placeOf(agent, one.attributes["vedette.model.endpoint"]) : "";
        found.push({ key: `${agent}\n${one.key}`, label: clean([...own, ...more, place].filter(Boolean).join(" · ") || "all"), points: one.points });
      }
    }
    return found.sort((a, b) => natural.compare(a.label, b.label));
  }

  draw() {
    const { view } = this;
    const metric = view.agents().map((agent) => view.store(agent).get(this.name)).find(Boolean);
    if (!metric) return;
    const { from, to } = view.span();
    const series = this.#series();
    const timed = metric.kind === "distribution";
    if (!this.chart) {
      const how = measure(metric.unit, metric.kind, this.name);
      const word = how.word && !this.title.toLowerCase().includes(how.word.replace(/\/s$/, "")) ? how.word : "";
      this.chart = new TimeChart({ title: this.title, note: [word, timed ? (series.length > BAND_MAX ? "medians" : "median to p95") : ""].filter(Boolean).join(", "), how, markers: [], brush: (a, b) => view.zoom(a, b) });
      this.chart.heading.title = this.name;
      this.node.replaceChildren(this.chart.node);
      this.node.classList.remove("waiting");
    }
    this.chart.options.markers = view.marks(from, to);
    this.chart.set({ from, to, now: api.serverNow(), series, spans: view.spans(this.name) });
  }
}

export class ModelView {
  title = "Model";
  cards = new Map();
  #stores = new Map();
  leave = new AbortController();
  listed = new Map(); // agent -> names of metrics, and when they were asked for

  constructor([name], params) {
    Object.assign(this, { name, params });
  }

  mount(root) {
    this.head = h("header", { class: "host-head" });
    this.trouble = h("section", { class: "block", "aria-label": "Incidents" });
    this.rows = h("tbody", { role: "rowgroup" });
    this.places = h("section", { class: "block", "aria-label": "Places", hidden: true }, h("div", { class: "tools" }, h("h2", null, "Where it runs"), (this.count = h("span", { class: "tool-count" }))),
      h("div", { class: "panel" }, h("table", { class: "hosts models places", role: "table", "aria-label": "Where it runs" }, this.#columns(), this.rows)));
    this.time = h("div", { class: "segments", role: "group", "aria-label": "Time range" });
    this.charted = h("span", { class: "sub" });
    this.bar = h("div", { class: "toolbar" }, h("h2", null, "Over time"), this.charted, h("span", { class: "grow" }), this.time);
    this.grid = h("div", { class: "grid model-grid" });
    this.events = h("section", { class: "section", "aria-label": "What changed" });
    this.servers = h("section", { class: "section", "aria-label": "Servers" });
    root.append(this.head, this.trouble, this.places, this.bar, this.grid, this.events, this.servers);
    redraw(this.head, "wait", () => [h("a", { class: "crumb", href: "#/models" }, icon("back"), "Models"), h("h1", { tabindex: "-1" }, "…")]);
    this.wait = skeleton(4, "chart");
    this.grid.append(this.wait);
    this.seer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const { card } = entry.target;
        card.visible = entry.isIntersecting;
        if (card.visible && card.stale) card.load();
      }
    }, { rootMargin: "240px 0px" });
    this.#drawBar();
  }

  destroy() {
    this.leave.abort();
    this.seer?.disconnect();
    for (const card of this.cards.values()) card.chart?.destroy();
    crosshair.set(null, null);
  }

  navigate(params) {
    if ((params.server ?? "") !== (this.params.server ?? "")) return false;
    this.params = params;
    this.#drawBar();
    for (const card of this.cards.values()) {
      card.stale = true;
      if (card.visible) card.load();
    }
    return true;
  }

  // ------------------------------------------------------------ time

  span() {
    const from = Number(this.params.from), to = Number(this.params.to);
    if (from > 0 && to > from) return { from, to };
    const now = api.serverNow();
    return { from: now - this.#range()[2] * 1000, to: now };
  }

  #range = () => RANGES.find(([key]) => key === this.params.range) ?? RANGES[1];
  #link = (more) => api.modelLink(this.name, { server: this.params.server, ...more });

  zoom(from, to) {
    location.hash = this.#link({ from, to });
  }

  #drawBar() {
    const fixed = Number(this.params.from) > 0;
    redraw(this.time, [this.params], () => [
      fixed ? h("a", { class: "segment fixed", href: this.#link({}) }, `${moment(Number(this.params.from), api.serverNow(), false)} – ${moment(Number(this.params.to), api.serverNow(), false)}`, icon("close"), h("span", { class: "unseen" }, "back to live")) : null,
      RANGES.map(([key, word]) => h("a", { class: "segment", href: this.#link({ range: key }), "aria-current": !fixed && this.#range()[0] === key ? "true" : null }, word))]);
  }

  // ------------------------------------------------------------ data

  async refresh(signal) {
    const answer = await api.model(this.name, { server: this.params.server }, signal);
    this.answer = answer;
    this.spots = answer.instances;
    const newest = JSON.stringify(answer.instances.map((one) => one.newest_ms));
    const moved = newest !== this.newest;
    this.newest = newest;
    this.#head();
    this.#incidents();
    this.#places();
    this.#events();
    this.#servers();
    await this.#list(signal);
    for (const card of this.cards.values()) {
      card.stale ||= moved;
      if (card.visible) await (card.stale ? card.load() : card.draw());
    }
  }

  agents() {
    return [...new Set((this.spots ?? []).map((one) => one.agent))].slice(0, HOSTS);
  }

  store(agent) {
    if (!this.#stores.has(agent)) this.#stores.set(agent, new Store(agent, this.leave.signal));
    return this.#stores.get(agent);
  }

  /** Whether a series is of one of the places shown; what it does not say, it says of all. */
  isMine(agent, attributes) {
    const said = (key, value) => !attributes[key] || attributes[key] === value || (key === "gen_ai.request.model" && !value);
    return this.spots.some((one) => one.agent === agent && [one.endpoint, one.server, one.layer, one.model, one.version].every((value, i) => said(PLACES[i], value)));
  }

  placeOf(agent, endpoint) {
    const host = this.spots.find((one) => one.agent === agent)?.host ?? agent;
    return [this.agents().length > 1 ? host : "", endpoint].filter(Boolean).join(" ");
  }

  async #list(signal) {
    const due = this.agents().filter((agent) => Date.now() - (this.listed.get(agent)?.at ?? 0) > SERIES_EVERY_MS);
    if (!due.length) return;
    for (const agent of due) {
      const { series = [] } = await api.series(agent, signal);
      const mine = series.filter((one) => /^(vedette\.model\.|gen_ai\.)/.test(one.name) && !HIDDEN.test(one.name) && this.isMine(agent, one.attributes));
      this.listed.set(agent, { at: Date.now(), names: new Set(mine.map((one) => one.name)) });
    }
    this.#arrange();
  }

  #arrange() {
    const names = new Set([...this.listed.values()].flatMap((one) => [...one.names]));
    const known = CHARTS.filter(([name]) => names.has(name));
    const others = [...names].filter((name) => !CHARTS.some(([one]) => one === name)).sort().slice(0, 40)
      .map((name) => [name, name.replace(/^vedette\.model\.|^gen_ai\.server\./, "").replace(/[._]/g, " "), []]);
    this.wait.remove();
    const hosts = new Set(this.spots.map((one) => one.agent)).size;
    put(this.charted, hosts > HOSTS ? `the first ${HOSTS} of ${plural(hosts, "host")}` : "");
    keyed(this.grid, [...known, ...others], ([name]) => name, ([name, title, tell]) => {
      const card = new Card(this, name, title, tell);
      this.cards.set(name, card);
      this.seer.observe(card.node);
      return { node: card.node, update() {} };
    });
  }

  marks(from, to) {
    return (this.answer?.events ?? []).filter((one) => one.time_ms >= from && one.time_ms <= to).slice(0, MARKS)
      .map((one) => ({ t: one.time_ms, text: one.text, kind: "event" }));
  }

  spans(metric) {
    const now = api.serverNow();
    return (this.answer?.incidents ?? []).slice(0, 60).map((one) => ({
      from: one.onset_ms || one.opened_ms, to: one.resolved_ms ?? now, severity: severityOf(one.severity), href: api.incidentLink(one.agent, one.id), text: one.title,
      mine: (one.series ?? []).some((key) => String(key).split("{")[0].replace(/\.(mean|p95)$/, "") === metric),
    }));
  }

  // ------------------------------------------------------------ drawing

  #title() {
    const names = [...new Set(this.spots.flatMap((one) => one.facts?.facts["vedette.model.names"] ?? []))].filter((one) => typeof one === "string");
    return this.name || modelName({ model: "", names, server: this.spots[0]?.server });
  }

  #head() {
    const servers = [...new Set(this.spots.map((one) => [one.server, one.facts?.facts["vedette.model.version"] || one.facts?.facts["vedette.model.release"]].filter((part) => typeof part === "string").join(" ")))];
    const layers = LAYERS.filter(([layer]) => layer && this.spots.some((one) => one.layer === layer)).map(([, word]) => word.toLowerCase());
    redraw(this.head, [this.#title(), servers, layers, this.answer.matching], () => [
      h("a", { class: "crumb", href: "#/models" }, icon("back"), "Models"),
      h("div", { class: "host-title" }, h("h1", { class: "isolate", tabindex: "-1" }, this.#title())),
      h("p", { class: "host-facts" }, servers.filter(Boolean).slice(0, 6).map((one) => h("span", { class: "isolate" }, one)),
        layers.length ? h("span", null, `told by ${layers.join(" and ")}`) : null, h("span", null, plural(this.answer.matching, "place"))),
    ]);
  }

  #incidents() {
    const all = [...this.answer.incidents];
    const open = all.filter((one) => one.state !== "resolved").sort(worstFirst);
    redraw(this.trouble, all.map((one) => [one.agent, one.id, one.state, one.severity, one.title, one.suspects?.[0]]), () => {
      const shown = open.concat(all.filter((one) => one.state === "resolved")).slice(0, 5);
      if (!shown.length) return h("p", { class: "calm" }, icon("ok"), "No incident has a series of this model.");
      return [h("div", { class: "tools" }, h("h2", null, "Incidents"), h("span", { class: "tool-count" }, `${open.length} open, ${all.length - open.length} resolved`)),
        h("ul", { class: "panel incidents" }, shown.map((one) => incidentRow(one)))];
    });
  }

  #columns() {
    const words = ["Place", "Requests/s", "Failed", "First token", "Duration", "Waiting", "Up", "Incidents"];
    const kinds = ["model", "rate", "failed", "ttft", "took", "wait", "up", "open"];
    return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, words.map((word, i) => h("th", { scope: "col", role: "columnheader", class: `m-${kinds[i]}` }, h("span", { class: "sorter" }, word)))));
  }

  #places() {
    this.places.hidden = false;
    put(this.count, this.answer.matching > this.spots.length ? `${this.spots.length} of ${this.answer.matching}` : this.spots.length);
    keyed(this.rows, this.spots, (one) => [one.agent, one.endpoint, one.layer, one.version].join("\n"), (one) => new PlaceRow(one));
  }

  #events() {
    const { events } = this.answer;
    redraw(this.events, events, () => {
      if (!events.length) return [];
      const now = api.serverNow();
      return [h("h2", null, "What changed"), h("div", { class: "panel barlist" }, h("ul", { class: "told" }, events.slice(0, 30).map((one) => h("li", null,
        h("time", { class: "sub", title: exact(one.time_ms) }, moment(one.time_ms, now)), h("span", { class: "isolate" }, one.text, " ", this.agents().length > 1 ? h("a", { href: api.hostLink(one.agent) }, one.host) : null)))))];
    });
    this.events.hidden = !events.length;
  }

  #servers() {
    const told = new Map(this.spots.filter((one) => one.facts).map((one) => [`${one.agent}\n${one.endpoint}`, one]));
    redraw(this.servers, [...told.values()].slice(0, 20).map((one) => [one.agent, one.endpoint, one.facts.time_ms]), () => (told.size ? [
      h("h2", null, "What is known of its servers"), h("div", { class: "inventory" }, [...told.values()].slice(0, 20).map((one) => serverFacts(one, api.serverNow())))] : []));
    this.servers.hidden = !told.size;
  }

  summaryTitle() {
    return this.spots ? clean(this.#title()) : "Model";
  }
}

class PlaceRow {
  constructor(one) {
    this.cells = ["rate", "failed", "ttft", "took", "wait", "up", "open"].map((kind) => h("td", { class: `m-${kind}`, role: "cell", "data-label": { rate: "Requests/s", failed: "Failed", ttft: "First token", took: "Duration", wait: "Waiting", up: "Up", open: "Incidents" }[kind] }));
    this.facts = h("span", { class: "row-facts isolate" });
    this.node = h("tr", { class: "row", role: "row" }, h("th", { class: "m-model", scope: "row", role: "rowheader" }, h("span", { class: "row-words" },
      h("a", { class: "row-name isolate", href: api.hostLink(one.agent) }, one.host), this.facts)), this.cells);
  }

  update(one) {
    const text = JSON.stringify(one);
    if (text === this.text) return;
    this.text = text;
    const f = one.figures, now = api.serverNow();
    const dash = () => h("span", { class: "quiet" }, "–");
    this.node.classList.toggle("silent", one.silent);
    put(this.facts, [one.served ? "" : "never answered well", one.endpoint, one.server, one.layer, one.version && `version ${one.version}`].filter(Boolean).join(" · "));
    const up = one.silent ? h("span", { class: "health silent" }, icon("silent"), "silent") : one.up === false ? h("span", { class: "missing" }, icon("warning"), "down")
      : one.facts?.since_ms ? h("time", { title: `answers since ${exact(one.facts.since_ms)}` }, duration(now - one.facts.since_ms)) : one.up ? "up" : dash();
    [isNumber(f.rate) ? perSecond(f.rate) : f.errors_told === "no" ? notTold("This server counts no requests") : dash(), errorShare(f), quantiles(f.ttft, "none was timed"), quantiles(f.duration, "none was timed"),
      isNumber(f.waiting) ? digits(f.waiting) : notTold("This server does not tell its queue"), up, openCounts(one.open)].forEach((part, i) => this.cells[i].replaceChildren(...[part].flat().map((x) => (x instanceof Node ? x : clean(x)))));
  }
}
