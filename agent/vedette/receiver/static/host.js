// One host: who it is and how it feels, then small multiples of everything it measures.

import * as api from "./api.js";
import { AGENT, arrange } from "./layout.js";
import { TimeChart, crosshair } from "./chart.js";
import { HeatChart } from "./heat.js";
import { Inventory } from "./inventory.js";
import { Store } from "./store.js";
import { clean, h, icon, put, redraw, s } from "./dom.js";
import {
  attributesText, bytes, clock, duration, exact, isNumber, measure, moment, percent, plural, quantity, whole,
} from "./format.js";
import {
  capacity, completeness, emptyState, healthBadge, healthOf, hostName, incidentRow, labelChips, lasted, severityOf,
  since, skeleton, worstFirst,
} from "./words.js";

export const RANGES = [["15m", "15 m", 900], ["1h", "1 h", 3600], ["6h", "6 h", 21_600], ["24h", "24 h", 86_400]];
const RANGE_KEY = "vedette.range";
const SERIES_EVERY_MS = 60_000;
const HEAT_FROM = 9; // cores; fewer are readable as lines
const MANY = 40, LARGEST = 24; // of a metric with more series than MANY, the largest are fetched
const natural = new Intl.Collator("en", { numeric: true });

function keptRange() {
  try {
    return localStorage.getItem(RANGE_KEY);
  } catch {
    return null;
  }
}

/** One chart of a host: loads when seen, draws from the store. */
class Card {
  visible = false;
  stale = true;
  loading = null;
  order = [];

  constructor(view, spec) {
    this.view = view;
    this.spec = spec;
    this.node = h("div", { class: "card waiting", "data-find": [spec.title, ...spec.metrics].join(" ").toLowerCase() });
    this.node.card = this;
  }

  #chart(metric, count) {
    const { spec } = this;
    const Kind = spec.heat && count >= HEAT_FROM ? HeatChart : TimeChart;
    if (this.chart instanceof Kind) return this.chart;
    this.chart?.destroy();
    const how = spec.plain ? measure("", "gauge") : measure(metric.unit, metric.kind, spec.metrics[0]);
    this.chart = new Kind({
      title: spec.title,
      note: this.#note(how),
      how,
      stacked: spec.stacked,
      max: spec.max,
      lines: spec.lines?.(this.view.host ?? {}) ?? [],
      brush: (from, to) => this.view.zoom(from, to),
    });
    this.chart.heading.title = spec.metrics.join("\n");
    this.chart.heading.classList.toggle("mono", Boolean(spec.raw));
    this.node.replaceChildren(this.chart.node);
    return this.chart;
  }

  async load(anew = false) {
    if (this.loading) return this.loading;
    const { view, spec } = this;
    const { from, to } = view.span();
    this.loading = Promise.all(spec.metrics.map((name) => view.store.load(name, from, to, anew, this.#keys(name))))
      .then(() => {
        this.stale = false;
        this.draw();
      })
      .catch((error) => {
        if (error.name === "AbortError") return;
        if (!this.chart) this.node.replaceChildren(h("p", { class: "card-failed" }, icon("warning"), `${this.spec.title}: ${error.message}`));
        throw error;
      })
      .finally(() => {
        this.loading = null;
      });
    return this.loading;
  }

  // The largest of very many series; chosen once for a time range, so that lines do not come and go.
  #keys(name) {
    if (this.spec.heat) return null;
    const range = this.view.rangeKey();
    if (this.chosenFor !== range) [this.chosen, this.chosenFor] = [new Map(), range];
    if (!this.chosen.has(name)) {
      const all = this.view.series.filter((one) => one.name === name && !this.spec.skip?.(one.attributes));
      const size = (one) => Math.abs(one.last ?? 0);
      this.chosen.set(name, all.length > MANY ? all.sort((a, b) => size(b) - size(a)).slice(0, LARGEST).map((one) => one.key) : null);
      this.many = Math.max(this.many ?? 0, all.length);
    }
    return this.chosen.get(name);
  }

  #note(how) {
    const { spec } = this;
    const told = !spec.raw && spec.title.toLowerCase().includes((how.word ?? "").replace(/\/s$/, ""));
    const words = [(spec.raw || spec.named) && !told ? how.word : "", this.many > MANY ? `${LARGEST} largest of ${this.many}` : ""];
    return words.filter(Boolean).join(", ");
  }

  #series(from) {
    const { spec, view } = this;
    const found = [];
    for (const name of spec.metrics) {
      for (const one of view.store.get(name)?.series.values() ?? []) {
        if (spec.skip?.(one.attributes)) continue;
        const label = spec.label?.(one.attributes, name) || attributesText(one.attributes, name.split(".").pop());
        found.push({ key: one.key ?? name, label: clean(label), points: one.points });
      }
    }
    if (spec.order === "size" || found.length > 8) return this.#bySize(found, from);
    const place = (one) => (Array.isArray(spec.order) && spec.order.includes(one.label) ? spec.order.indexOf(one.label) : 99);
    return found.sort((a, b) => place(a) - place(b) || natural.compare(a.label, b.label));
  }

  // Largest first, but an order once shown stays: a colour must not jump to another series.
  #bySize(found, from) {
    const known = new Set(this.order);
    if (this.orderFrom !== this.view.rangeKey()) [this.order, this.orderFrom] = [[], this.view.rangeKey()];
    const size = (one) => one.points.reduce((sum, p) => (p.t >= from && p.v !== null ? sum + p.mean : sum), 0);
    const sizes = new Map(found.map((one) => [one.key, size(one)]));
    if (!this.order.length || found.some((one) => !known.has(one.key))) {
      const fresh = found.filter((one) => !this.order.includes(one.key));
      fresh.sort((a, b) => sizes.get(b.key) - sizes.get(a.key) || natural.compare(a.label, b.label));
      this.order.push(...fresh.map((one) => one.key));
    }
    const rank = new Map(this.order.map((key, i) => [key, i]));
    return found.filter((one) => one.points.some((p) => p.t >= from)).sort((a, b) => rank.get(a.key) - rank.get(b.key));
  }

  draw() {
    const { view, spec } = this;
    const metric = view.store.get(spec.metrics[0]);
    if (!metric) return;
    const { from, to } = view.span();
    const series = this.#series(from);
    this.node.classList.remove("waiting");
    this.#chart(metric, series.length).set({ from, to, now: api.serverNow(), series, spans: view.spans(spec.metrics) });
  }
}

export class HostView {
  title = "Host";
  host = null;
  incidents = [];
  cards = [];
  params = {};
  leave = new AbortController();

  constructor([agent], params) {
    this.agent = agent;
    this.params = params;
    this.store = new Store(agent, this.leave.signal);
    this.inventory = new Inventory();
    this.unfolded = new Set(); // what a person opened stays open when the sections are drawn anew
  }

  mount(root) {
    this.header = h("header", { class: "host-head" });
    this.trouble = h("div");
    this.strip = h("section", { class: "strip facts", "aria-label": "Facts" });
    this.open = h("section", { class: "block", "aria-label": "Incidents of this host" });
    this.bar = this.#bar();
    this.sections = h("div", { class: "sections" });
    this.none = h("p", { class: "none-found", hidden: true }, "No metric matches this filter.");
    root.append(this.header, this.trouble, this.strip, this.open, this.bar, this.sections, this.none);
    redraw(this.header, "wait", () => [h("a", { class: "crumb", href: "#/" }, icon("back"), "Fleet"), h("h1", { tabindex: "-1" }, "…")]);
    redraw(this.strip, "wait", () => skeleton(1, "tall"));
    redraw(this.sections, "wait", () => skeleton(6, "chart"));
    this.seer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "240px 0px" });
    this.#drawBar();
  }

  destroy() {
    this.leave.abort();
    this.seer?.disconnect();
    for (const card of this.cards) card.chart?.destroy();
    crosshair.set(null, null);
  }

  // ------------------------------------------------------------ time

  fixed() {
    const from = Number(this.params.from), to = Number(this.params.to);
    return from > 0 && to > from ? { from, to } : null;
  }

  range() {
    const wanted = this.params.range ?? keptRange();
    return RANGES.find(([key]) => key === wanted) ?? RANGES[0];
  }

  rangeKey() {
    const fixed = this.fixed();
    return fixed ? `${fixed.from}-${fixed.to}` : this.range()[0];
  }

  span() {
    const fixed = this.fixed();
    if (fixed) return fixed;
    const to = api.serverNow();
    return { from: to - this.range()[2] * 1000, to };
  }

  zoom(from, to) {
    location.hash = api.hostLink(this.agent, { from, to });
  }

  /** Take new parameters of the same host without building the page again. */
  navigate(params) {
    this.params = params;
    this.#drawBar();
    for (const card of this.cards) card.stale = true;
    this.#drawIncidents();
    this.#update(true);
    return true;
  }

  #bar() {
    this.links = h("nav", { class: "anchors", "aria-label": "Sections" });
    this.filter = h("input", {
      type: "search", class: "find", id: "find", placeholder: "Filter metrics", "aria-label": "Filter metrics",
      autocomplete: "off", spellcheck: "false", oninput: () => this.#applyFilter(),
    });
    this.time = h("div", { class: "segments", role: "group", "aria-label": "Time range" });
    return h("div", { class: "toolbar" }, this.links,
      h("label", { class: "field search-field" }, icon("search"), this.filter, h("kbd", { "aria-hidden": "true" }, "/")), this.time);
  }

  #drawBar() {
    const fixed = this.fixed();
    redraw(this.time, this.rangeKey(), () => [
      fixed ? h("a", { class: "segment fixed", href: api.hostLink(this.agent), title: `${exact(fixed.from)} to ${exact(fixed.to)}` },
        `${moment(fixed.from, api.serverNow(), false)} – ${clock(fixed.to)}`, icon("close"), h("span", { class: "unseen" }, "back to live")) : null,
      RANGES.map(([key, word]) => h("a", {
        class: "segment", href: api.hostLink(this.agent, { range: key }),
        "aria-current": !fixed && this.range()[0] === key ? "true" : null,
        onclick: () => {
          try {
            localStorage.setItem(RANGE_KEY, key);
          } catch {
            // not kept, still applied through the address
          }
        },
      }, word)),
    ]);
  }

  // ------------------------------------------------------------ data

  async refresh(signal) {
    const first = !this.host;
    const [answer, incidents] = await Promise.all([
      api.host(this.agent, signal), api.incidents({ agent: this.agent, limit: 100 }, signal),
    ]);
    const newest = answer.host.newest_window_ms;
    const moved = !this.host || this.host.newest_window_ms !== newest || this.host.received !== answer.host.received;
    const behind = (this.host?.backlog_batches ?? 0) > 0;
    this.host = answer.host;
    this.epochs = answer.epochs ?? [];
    this.incidents = incidents.incidents ?? [];
    this.#drawHead();
    this.#drawIncidents();
    if (first || (moved && Date.now() - (this.seriesAt ?? 0) >= SERIES_EVERY_MS)) {
      const listed = await api.series(this.agent, signal);
      this.seriesAt = Date.now();
      this.series = listed.series ?? [];
      this.#arrange();
    }
    this.#drawLists();
    if (moved) for (const card of this.cards) card.stale = true;
    await Promise.all([this.#update(behind && moved), this.#loadInventory(signal)]);
  }

  async #loadInventory(signal) {
    const told = this.host.inventory_ms ?? null;
    if (told === null || told === this.inventoryAt) return;
    this.inventory.set(await api.inventory(this.agent, signal));
    this.inventoryAt = told;
    this.#drawLinks();
    this.#applyFilter();
  }

  /** Load what is stale and seen; let the rest move on with the clock. */
  async #update(anew = false) {
    const seen = this.cards.filter((card) => card.visible);
    const failed = await Promise.allSettled(seen.map((card) => {
      if (card.stale) return card.load(anew);
      if (!this.fixed()) card.draw();
      return null;
    }));
    const error = failed.find((one) => one.status === "rejected")?.reason;
    if (error) throw error;
  }

  #seen(entries) {
    for (const entry of entries) {
      const { card } = entry.target;
      card.visible = entry.isIntersecting;
      if (card.visible && card.stale) card.load().catch(() => {}); // the card says so itself
      else if (card.visible) card.draw();
    }
  }

  spans(metrics) {
    const now = api.serverNow();
    const touches = (incident) => (incident.series ?? []).some((key) => metrics.includes(String(key).split("{")[0]));
    return this.incidents.slice(0, 60).map((incident) => ({
      from: incident.onset_ms || incident.opened_ms,
      to: incident.resolved_ms ?? now,
      severity: severityOf(incident.severity),
      href: api.incidentLink(incident.agent ?? this.agent, incident.id),
      text: incident.title,
      mine: touches(incident),
    }));
  }

  // ------------------------------------------------------------ drawing

  #drawHead() {
    const { host } = this;
    const health = healthOf(host);
    redraw(this.header, [host.host, health, host.os, host.version, host.labels, host.cpus, host.memory_bytes, host.last_seen_ms, isNumber(host.logs_ms), host.models], () => [
      h("a", { class: "crumb", href: "#/" }, icon("back"), "Fleet"),
      h("div", { class: "host-title" }, h("h1", { class: "isolate", tabindex: "-1" }, hostName(host)), healthBadge(health),
        h("span", { class: "sub" }, "seen ", since(host.last_seen_ms)),
        isNumber(host.logs_ms) ? h("a", { class: "button logs-link", href: api.logsLink(this.agent) }, icon("lines"), "Logs") : null,
        isNumber(host.models) ? h("a", { class: `button${isNumber(host.logs_ms) ? "" : " logs-link"}`, href: api.link("#/models", { agent: this.agent }) }, icon("next"), "Models") : null),
      h("p", { class: "host-facts" }, [host.os, ...capacity(host), host.version ? `Vedette ${host.version}` : ""].filter(Boolean)
        .map((fact) => h("span", { class: "isolate" }, fact)),
      h("span", { class: "mono id", title: "agent identity" }, host.agent), labelChips(host.labels)),
    ]);
    const reasons = health !== "ok" && host.reasons?.length ? [...host.reasons] : health === "silent" ? ["No heartbeat: the host, its network or the agent is down."] : [];
    if (health === "stopped") reasons.splice(0, reasons.length, `It said goodbye at ${moment(host.last_seen_ms, api.serverNow())}; nothing is lost, and it goes on when it is started again.`);
    redraw(this.trouble, [health, reasons, health === "silent" ? host.last_seen_ms : 0], () =>
      health === "ok" || !reasons.length ? [] : h("div", { class: `notice ${health}` }, icon(health),
        h("div", null, h("b", null, { silent: "This host is silent", stopped: "The agent was stopped" }[health] ?? "Degraded"), h("ul", null, reasons.map((one) => h("li", { class: "isolate" }, one))),
          health === "silent" ? h("p", { class: "sub" }, `Charts end at the last window, ${moment(host.newest_window_ms, api.serverNow())}. What the agent measured since then waits in its spool and arrives when it is back.`) : null)));
    this.#drawStrip();
  }

  #drawStrip() {
    const { host } = this;
    const share = (value) => (isNumber(value) ? percent(value) : "–");
    this.strip.classList.toggle("stale", ["silent", "stopped"].includes(healthOf(host)));
    redraw(this.strip, [host.headline, host.lag_s, host.series, host.learning, host.missing, host.received, host.backlog_batches, host.agent_cpu, host.agent_rss, host.clock_offset_s], () => {
      const tile = (word, value, more, kind = "") =>
        h("div", { class: `tile ${kind}` }, h("span", { class: "tile-value" }, value), h("span", { class: "tile-word" }, word), more ? h("span", { class: "sub" }, more) : null);
      const learning = isNumber(host.learning) && host.learning > 0.005 ? `${percent(host.learning)} still learning` : "all learned";
      const skew = Math.abs(host.clock_offset_s ?? 0) >= 2 ? `clock off by ${duration(Math.abs(host.clock_offset_s) * 1000)}` : "behind the host";
      return [
        tile("CPU busy", share(host.headline?.cpu)),
        tile("memory used", share(host.headline?.memory)),
        tile("fullest disk", share(host.headline?.disk)),
        tile("lag", isNumber(host.lag_s) ? duration(host.lag_s * 1000) : "–", skew),
        tile("series", whole(host.series), learning),
        tile("delivery", completeness(host), host.backlog_batches ? `${host.backlog_batches} waiting at the host` : "no backlog"),
        tile("agent's own cost", share(host.agent_cpu), isNumber(host.agent_rss) ? `${bytes(host.agent_rss)} memory` : ""),
      ];
    });
  }

  #drawIncidents() {
    const { from, to } = this.span();
    const open = this.incidents.filter((one) => one.state !== "resolved").sort(worstFirst);
    const inRange = this.incidents.filter((one) => (one.onset_ms || one.opened_ms) <= to && (one.resolved_ms ?? to) >= from);
    const step = Math.round(to / ((to - from) / 200));
    redraw(this.open, [step, this.rangeKey(), this.incidents.map((one) => [one.id, one.state, one.title, one.severity, one.updated_ms])], () => {
      if (!this.host) return [];
      if (!open.length && !inRange.length) return h("p", { class: "calm" }, icon("ok"), "No incident in this time range.");
      return [
        h("div", { class: "tools" }, h("h2", null, "Incidents"),
          h("span", { class: "tool-count" }, `${open.length} open, ${inRange.length} in this range`)),
        h("div", { class: "panel" },
          open.length ? h("ul", { class: "incidents" }, open.slice(0, 4).map((one) => incidentRow(one, { host: false, state: false }))) : null,
          inRange.length ? this.#ribbon(inRange, from, to) : null),
      ];
    });
  }

  #ribbon(incidents, from, to) {
    const lanes = [];
    const bars = [];
    for (const one of [...incidents].sort((a, b) => (a.onset_ms || a.opened_ms) - (b.onset_ms || b.opened_ms))) {
      const begin = Math.max(from, one.onset_ms || one.opened_ms), end = Math.min(to, one.resolved_ms ?? to);
      let lane = lanes.findIndex((edge) => edge < begin);
      if (lane < 0) lane = lanes.push(0) - 1;
      lanes[lane] = Math.max(end, begin + (28 / (this.open.clientWidth || 1000)) * (to - from));
      if (lane > 5) continue;
      const wide = ((end - begin) / (to - from)) * 100;
      bars.push(h("a", {
        class: `ribbon-bar ${severityOf(one.severity)}${one.state === "resolved" ? " resolved" : ""}`,
        href: api.incidentLink(one.agent ?? this.agent, one.id),
        title: `${one.title} (${one.severity}, ${lasted(one, to)})`,
        css: { left: `min(${((begin - from) / (to - from)) * 100}%, 100% - 24px)`, width: `max(24px, ${wide}%)`, top: `${lane * 26}px` },
      }, icon(severityOf(one.severity)), h("span", { class: (wide / 100) * this.open.clientWidth < 110 ? "unseen" : "ribbon-word isolate" }, one.title)));
    }
    return h("div", { class: "ribbon", role: "group", "aria-label": "Incidents over time" },
      h("div", { class: "ribbon-lanes", css: { height: `${Math.min(lanes.length, 6) * 26 - 2}px` } }, bars),
      h("div", { class: "ribbon-ends" }, h("span", null, moment(from, to, false)), h("span", null, this.fixed() ? moment(to, api.serverNow(), false) : "now")));
  }

  #arrange() {
    const names = [...new Set(this.series.map((one) => one.name))].sort();
    redraw(this.sections, names, () => {
      for (const card of this.cards) card.chart?.destroy();
      this.seer.disconnect();
      this.cards = [];
      const { known, others, agent } = arrange(names);
      this.parts = [];
      const grid = (charts) => h("div", { class: "grid" }, charts.map((spec) => {
        const card = new Card(this, spec);
        this.cards.push(card);
        return card.node;
      }));
      const section = (id, title, short, ...content) => {
        const node = h("section", { class: "section", id: `section-${id}`, "aria-label": title }, content);
        this.parts.push({ id, title: short ?? title, node });
        return node;
      };
      const heading = (title) => h("h2", { tabindex: "-1" }, title);
      this.lists = new Map();
      const special = (id) => {
        const node = h("div", { class: "lists" });
        this.lists.set(id, node);
        return node;
      };
      if (!names.length) return this.#noSeries();
      return [
        known.map((one) => section(one.id, one.title, one.short, one.charts.length ? [heading(one.title),
          h("div", { class: one.special === "filesystems" ? "split" : "" }, one.special ? special(one.special) : null, grid(one.charts)),
          one.more.length ? this.#fold(one.id, `${one.title}, more`, h("span", { class: "fold-word" }, plural(one.more.length, "more chart")), grid(one.more)) : null]
          : this.#fold(one.id, one.title, [heading(one.title), h("span", { class: "sub" }, plural(one.more.length, "chart"))], grid(one.more)))),
        others.length ? section("more", "Everything else", null, heading("Everything else"), grid(others)) : null,
        this.#inventoryPart(),
        section(AGENT.id, "The agent itself", AGENT.title, heading("The agent itself"), special("collectors"), grid(agent.charts), special("epochs")),
      ];
    });
    for (const card of this.cards) this.seer.observe(card.node);
    this.#drawLinks();
    this.#applyFilter();
    if (this.params.metric) this.#jumpToMetric(this.params.metric);
  }

  #fold(id, name, summary, content) {
    const node = h("details", { class: "fold", open: this.unfolded.has(id), "aria-label": name }, h("summary", null, summary), content);
    node.addEventListener("toggle", () => {
      if (node.open) this.unfolded.add(id);
      else this.unfolded.delete(id);
    });
    return node;
  }

  #inventoryPart() {
    this.parts.push({ id: "inventory", title: "Inventory", node: this.inventory.node });
    return this.inventory.node;
  }

  #drawLinks() {
    const parts = (this.parts ?? []).filter((part) => part.id !== "inventory" || !this.inventory.empty);
    redraw(this.links, parts.map((part) => part.id), () => parts.map(({ title, node }) =>
      h("button", { type: "button", class: "anchor", onclick: () => this.#jump(node) }, title)));
  }

  #noSeries() {
    return emptyState("No window yet", "This host has said hello, and its first measurements arrive with its first window, seconds after the agent started.");
  }

  #jump(node) {
    const closed = node.querySelector(":scope > details");
    if (closed && !node.querySelector(":scope > h2")) closed.open = true;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    node.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
    node.querySelector("h2")?.focus({ preventScroll: true });
  }

  #jumpToMetric(name) {
    const card = this.cards.find((one) => one.spec.metrics.includes(name));
    if (!card) return;
    const closed = card.node.closest("details");
    if (closed) closed.open = true;
    requestAnimationFrame(() => {
      card.node.scrollIntoView({ block: "center" });
      card.node.classList.add("called");
    });
  }

  #applyFilter() {
    const words = this.filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const card of this.cards) {
      const match = words.every((word) => card.node.dataset.find.includes(word));
      card.node.hidden = !match;
      found += Number(match);
    }
    for (const { node } of this.parts ?? []) {
      const cards = [...node.querySelectorAll(".card")];
      node.hidden = words.length > 0 ? cards.every((card) => card.hidden) : node === this.inventory.node && this.inventory.empty;
      const closed = node.querySelector("details.fold:has(.card)");
      if (closed) this.#unfoldFor(closed, words.length > 0);
      for (const list of node.querySelectorAll(".lists")) list.hidden = words.length > 0;
    }
    this.none.hidden = found > 0 || !this.cards.length;
  }

  /** Open a fold in which the filter found something, and close it again after that. */
  #unfoldFor(node, filtered) {
    const found = [...node.querySelectorAll(".card")].some((card) => !card.hidden);
    node.hidden = filtered && !found;
    if (filtered && found && !node.open) [node.open, node.byFilter] = [true, true];
    else if (!filtered && node.byFilter) [node.open, node.byFilter] = [false, false];
  }

  // ------------------------------------------------------------ lists

  #drawLists() {
    if (!this.lists) return;
    const fill = (id, make) => {
      const node = this.lists.get(id);
      if (node) redraw(node, JSON.stringify([this.seriesAt, id === "epochs" ? this.epochs : id === "collectors" ? this.host.collectors : 0]), make);
    };
    fill("filesystems", () => this.#filesystems());
    fill("processes", () => [
      this.#top("Top by CPU", "process.cpu.utilization"), this.#top("Top by memory", "process.memory.usage")]);
    fill("collectors", () => this.#collectors());
    fill("epochs", () => this.#epochs());
  }

  #recent(name) {
    const all = this.series.filter((one) => one.name === name && isNumber(one.last));
    const newest = Math.max(0, ...this.series.map((one) => one.last_ms ?? 0));
    return all.filter((one) => newest - (one.last_ms ?? 0) <= 65 * 60_000);
  }

  #filesystems() {
    const found = new Map();
    const of = ({ attributes }) => `${attributes["system.device"]}\n${attributes["system.filesystem.mountpoint"]}`;
    const entry = (one) => {
      const key = of(one);
      if (!found.has(key)) found.set(key, { attributes: one.attributes, used: null, free: 0, share: null });
      return found.get(key);
    };
    for (const one of this.#recent("system.filesystem.usage")) {
      const state = one.attributes["system.filesystem.state"];
      if (state === "used") entry(one).used = one.last;
      else entry(one).free += one.last;
    }
    for (const one of this.#recent("system.filesystem.utilization"))
      if ((one.attributes["system.filesystem.state"] ?? "used") === "used") entry(one).share = one.last;
    const rows = [...found.values()].map((one) => ({ ...one, share: one.share ?? (one.used !== null ? one.used / (one.used + one.free) : null) }))
      .sort((a, b) => (b.share ?? 0) - (a.share ?? 0));
    if (!rows.length) return [];
    return h("div", { class: "panel barlist" }, h("ul", { class: "bars" }, rows.slice(0, 24).map(({ attributes, used, free, share }) =>
      bar(attributes["system.filesystem.mountpoint"] ?? attributes["system.device"], share, percent(share), {
        note: [attributes["system.device"], attributes["system.filesystem.type"]].filter(Boolean).join(" · "),
        more: used !== null ? `${bytes(used)} of ${bytes(used + free)}` : "",
        warn: true,
      }))));
  }

  #top(title, name) {
    const rows = this.#recent(name).filter((one) => one.last > 0).sort((a, b) => b.last - a.last).slice(0, 8);
    if (!rows.length) return null;
    const how = measure(rows[0].unit, rows[0].kind, name);
    const whole = name.includes("memory") ? this.host.memory_bytes || rows[0].last : Math.max(1, rows[0].last);
    return h("div", { class: "panel barlist" }, h("h3", null, title), h("ul", { class: "bars" }, rows.map((one) =>
      bar(attributesText(one.attributes, one.key), one.last / whole, quantity(one.last, how)))));
  }

  #collectors() {
    const all = Object.entries(this.host.collectors ?? {}).sort(([, a], [, b]) => Number(/^ok\b/.test(a)) - Number(/^ok\b/.test(b)));
    if (!all.length) return [];
    return h("div", { class: "panel barlist" }, h("h3", null, "Collectors"), h("ul", { class: "collectors" }, all.map(([name, status]) => {
      const [state, ...why] = String(status ?? "").split(/:\s*/);
      const kind = state === "ok" ? "ok" : state === "resting" || state === "starting" || state === "stopped" ? "silent" : "warning";
      return h("li", { class: `collector ${kind}` }, icon(kind), h("span", { class: "collector-name mono isolate" }, name),
        h("span", { class: "collector-state isolate", title: status }, state, why.length ? h("span", { class: "sub" }, ` ${why.join(": ")}`) : null));
    })));
  }

  #epochs() {
    if (!this.epochs.length) return [];
    const rows = this.epochs.slice(0, 12);
    return h("div", { class: "panel barlist" }, h("h3", null, "Delivery"),
      h("p", { class: "sub" }, "Every batch carries a number without gaps, so the receiver can prove that nothing is missing. A new epoch begins when the agent’s spool begins anew."),
      h("ul", { class: "epochs" }, rows.map((epoch) => {
        const span = Math.max(1, epoch.highest - epoch.first + 1);
        const missing = epoch.missing_count ?? (epoch.missing ?? []).reduce((sum, [a, b]) => sum + b - a + 1, 0);
        const width = 200;
        return h("li", { class: "epoch" },
          h("span", { class: "mono isolate" }, epoch.epoch),
          s("svg", { class: "epoch-strip", viewBox: `0 0 ${width} 8`, preserveAspectRatio: "none", role: "img", "aria-label": missing ? `${missing} missing` : "complete" },
            s("rect", { class: "got", width, height: 8, rx: 2 }),
            (epoch.missing ?? []).slice(0, 200).map(([a, b]) => s("rect", {
              class: "lost", x: ((a - epoch.first) / span) * width, width: Math.max(1.5, ((b - a + 1) / span) * width), height: 8,
            }))),
          h("span", null, `${epoch.first} to ${epoch.highest}`),
          missing ? h("span", { class: "missing" }, icon("warning"), `${plural(missing, "batch", "batches")} missing: ${ranges(epoch.missing)}`)
            : h("span", { class: "complete" }, icon("check"), "complete"),
          h("span", { class: "sub" }, `${epoch.received} received, ${epoch.duplicates} resent`));
      })));
  }

  summaryTitle() {
    return this.host ? hostName(this.host) : "Host";
  }
}

const ranges = (missing) =>
  missing.slice(0, 4).map(([a, b]) => (a === b ? a : `${a}–${b}`)).join(", ") + (missing.length > 4 ? " …" : "");

function bar(name, share, value, { note = "", more = "", warn = false } = {}) {
  const filled = Math.min(1, Math.max(0, share ?? 0));
  const level = warn && filled >= 0.95 ? " full" : warn && filled >= 0.85 ? " high" : "";
  return h("li", { class: `bar${level}` },
    h("span", { class: "bar-name isolate", title: name }, name, note ? h("span", { class: "sub" }, note) : null),
    h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: "bar-fill", css: { width: `${filled * 100}%` } })),
    h("span", { class: "bar-value" }, value, more ? h("span", { class: "sub" }, more) : null));
}

