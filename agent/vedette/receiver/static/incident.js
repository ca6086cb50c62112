// Incidents: the list, and one incident with its evidence.

import * as api from "./api.js";
import { crosshair } from "./chart.js";
import { EvidenceAxis, happenings, suspectName, worst } from "./incident_axis.js";
import { gradeBadge, gradeClass, logText } from "./log_words.js";
import { clean, h, icon, keyed, put, redraw } from "./dom.js";
import { clock, digits, duration, exact, isNumber, moment, percent, plural, quantity } from "./format.js";
import {
  SEVERITIES, emptyState, incidentRow, sentence, severityBadge, severityOf, since, skeleton, suspectText, worstFirst,
} from "./words.js";

const PAGE = 100;
const AROUND_MS = 15 * 60_000; // shown before the onset and after the end on the host's charts
const LOGS_UNTIL_MS = 10 * 60_000; // windows around the onset may arrive until then
const AROUND_SHOWN = 14;
const STATES = { open: "Open", resolved: "Resolved", all: "All" };

/** All incidents of the fleet, filtered. */
export class IncidentsView {
  title = "Incidents";
  limit = PAGE;

  constructor(_, params) {
    this.params = params;
  }

  mount(root) {
    this.find = h("input", {
      type: "search", class: "find", id: "find", placeholder: "Find in incidents", "aria-label": "Find in incidents",
      autocomplete: "off", spellcheck: "false", oninput: () => this.#list(),
    });
    this.states = h("div", { class: "segments", role: "group", "aria-label": "State" });
    this.severities = h("div", { class: "segments", role: "group", "aria-label": "Severity" });
    this.count = h("span", { class: "tool-count" });
    this.rows = h("ul", { class: "panel incidents", hidden: true });
    this.wait = skeleton(5);
    this.nothing = h("div", { hidden: true });
    this.more = h("button", {
      type: "button", class: "button", hidden: true,
      onclick: () => {
        this.limit += 4 * PAGE;
        dispatchEvent(new CustomEvent("vedette:refresh"));
      },
    }, "Show older ones");
    root.append(
      h("div", { class: "tools page-head" }, h("h1", { tabindex: "-1" }, "Incidents"), this.count, h("span", { class: "grow" }),
        h("label", { class: "field search-field" }, icon("search"), this.find, h("kbd", { "aria-hidden": "true" }, "/")),
        this.states, this.severities),
      this.wait, this.rows, this.nothing, this.more);
    this.#filters();
  }

  navigate(params) {
    this.params = params;
    this.#filters();
    if (this.all) this.#list();
    return true;
  }

  #filters() {
    const state = this.params.state in STATES ? this.params.state : "all";
    const severity = SEVERITIES.includes(this.params.severity) ? this.params.severity : "all";
    const choice = (key, value, word, current) => h("a", {
      class: `segment${SEVERITIES.includes(value) ? ` ${value}` : ""}`, "aria-current": current === value ? "true" : null,
      href: api.link("#/incidents", { ...this.params, [key]: value === "all" ? "" : value }),
    }, SEVERITIES.includes(value) ? icon(value) : null, word);
    redraw(this.states, [this.params], () => ["all", "open", "resolved"].map((one) => choice("state", one, STATES[one], state)));
    redraw(this.severities, [this.params], () => [
      choice("severity", "all", "Any severity", severity),
      SEVERITIES.map((one) => choice("severity", one, one[0].toUpperCase() + one.slice(1), severity)),
    ]);
    Object.assign(this, { state, severity });
  }

  async refresh(signal) {
    const answer = await api.incidents({ limit: this.limit }, signal);
    this.all = answer.incidents ?? [];
    this.#list();
  }

  #list() {
    this.wait.remove();
    const words = this.find.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const text = (one) => [one.title, one.host, one.resource, one.severity, suspectText(one), ...(one.series ?? [])].join("\n").toLowerCase();
    const found = this.all.filter((one) =>
      (this.state === "all" || (one.state === "resolved") === (this.state === "resolved")) &&
      (this.severity === "all" || severityOf(one.severity) === this.severity) &&
      words.every((word) => text(one).includes(word)));
    const open = found.filter((one) => one.state !== "resolved").sort(worstFirst);
    const ordered = open.concat(found.filter((one) => one.state === "resolved"));
    keyed(this.rows, ordered, (one) => `${one.agent}/${one.id}`, (one) => new IncidentItem(one));
    put(this.count, found.length === this.all.length ? found.length : `${found.length} of ${this.all.length}`);
    this.rows.hidden = !found.length;
    this.nothing.hidden = found.length > 0;
    this.more.hidden = this.all.length < this.limit;
    redraw(this.nothing, this.all.length ? "filtered" : "none", () => (this.all.length
      ? h("p", { class: "none-found" }, "No incident matches these filters.")
      : emptyState("No incident so far", "When a host behaves in a way it never did, Vedette says so here: what moved, since when, and who may have caused it. To see one, run vedette drill on a host.")));
  }

  summaryTitle() {
    return "Incidents";
  }
}

class IncidentItem {
  constructor(incident) {
    this.node = incidentRow(incident);
    this.text = JSON.stringify(incident);
  }

  update(incident) {
    const text = JSON.stringify(incident);
    if (text === this.text) return;
    this.text = text;
    const fresh = incidentRow(incident);
    this.node.className = fresh.className;
    this.node.replaceChildren(...fresh.childNodes);
  }
}

/** One incident: the sentence, who is suspected, and the readings that prove it. */
export class IncidentView {
  title = "Incident";
  constructor([agent, id]) {
    Object.assign(this, { agent, id, axis: new EvidenceAxis(agent) });
  }

  mount(root) {
    this.head = h("header", { class: "incident-head" });
    this.brief = h("section", { class: "strip facts brief", "aria-label": "In short" });
    this.steps = h("ol", { class: "steps" });
    this.evidence = h("section", { class: "evidence", "aria-label": "Evidence" });
    this.logs = h("section", { class: "said", "aria-label": "Logs", hidden: true });
    this.side = h("div", { class: "side" });
    this.columns = h("div", { class: "columns" }, h("div", { class: "proof" }, this.evidence, this.logs), this.side);
    root.append(this.head, this.brief, this.steps, this.columns);
    redraw(this.head, "wait", () => [h("a", { class: "crumb", href: "#/incidents" }, icon("back"), "Incidents"), h("h1", { tabindex: "-1" }, "…")]);
    redraw(this.evidence, "wait", () => skeleton(3, "chart"));
  }

  destroy() {
    this.axis.destroy();
    crosshair.set(null, null);
  }

  async refresh(signal) {
    const { incident } = await api.incident(this.agent, this.id, signal);
    this.incident = incident;
    this.#head();
    this.#brief();
    this.#steps();
    this.#side();
    this.#evidence();
    await Promise.all([this.#loadEvents(signal), this.#loadLogs(signal)]);
    this.#brief();
    this.#side();
    this.#evidence();
    await this.axis.load(signal);
  }

  async #loadEvents(signal) {
    try {
      this.happened = await api.incidentEvents(this.agent, this.id, signal);
    } catch (error) {
      if (error.status !== 404) throw error; // the incident is shown without them
      this.happened = { events: [] };
    }
  }

  async #loadLogs(signal) {
    const begin = this.incident.onset_ms || this.incident.opened_ms;
    if (this.said && api.serverNow() - begin > LOGS_UNTIL_MS) return;
    try {
      this.said = await api.incidentLogs(this.agent, this.id, signal);
    } catch (error) {
      if (error.status !== 404) throw error; // the incident is shown without them
      this.said = { said: [] };
    }
    this.#drawLogs();
  }

  #drawLogs() {
    const { said, from_ms: from, to_ms: to, omitted } = this.said;
    this.logs.hidden = !isNumber(from);
    if (!isNumber(from)) return;
    redraw(this.logs, [said, from, to, omitted], () => [
      h("div", { class: "tools" }, h("h2", null, "What the logs said around it"),
        h("span", { class: "tool-count" }, `${moment(from, api.serverNow())} to ${clock(to, true)}`), h("span", { class: "grow" }),
        h("a", { class: "more-link", href: api.logsLink(this.agent) }, "All logs", icon("next"))),
      said.length ? h("ul", { class: "panel incidents" }, said.map((one) => this.#saidLine(one)))
        : h("p", { class: "calm" }, icon("ok"), "No error, no new line, and nothing much more often than in the hour before."),
      omitted ? h("p", { class: "sub" }, `${plural(omitted, "more line")} stood out.`) : null,
    ]);
  }

  #saidLine(one) {
    const usual = isNumber(one.usual) ? `usually ${one.usual < 0.1 ? "none" : digits(one.usual)}` : "";
    const words = { new: "New", more: "Much more" };
    return h("li", { class: `incident ${gradeClass(one.severity)}` }, gradeBadge(one.severity),
      h("div", { class: "incident-words" },
        h("a", { class: "incident-title line-text isolate", href: api.logLink(this.agent, one.source, one.uid) }, logText(one.text)),
        h("p", { class: "incident-facts" }, h("span", { class: "isolate" }, one.source), h("span", null, [plural(one.count, "event"), usual].filter(Boolean).join(", ")))),
      h("span", { class: "incident-when" }, one.reasons.filter((why) => why in words).map((why) => h("span", { class: "state open" }, words[why]))));
  }

  #head() {
    const one = this.incident;
    const open = one.state !== "resolved";
    redraw(this.head, [one.title, one.severity, one.state, one.host, one.verdict], () => [
      h("a", { class: "crumb", href: "#/incidents" }, icon("back"), "Incidents"),
      h("div", { class: "incident-tags" }, severityBadge(one.severity),
        h("span", { class: `state ${open ? "open" : "resolved"}` }, open ? "Open" : "Resolved"),
        h("a", { class: "isolate host-link", href: api.hostLink(this.agent) }, one.host || this.agent),
        h("span", { class: "sub isolate" }, one.resource)),
      one.verdict ? this.#verdict(one.verdict) : null,
      h("h1", { class: "isolate", tabindex: "-1" }, sentence(one.title || `${one.resource} incident`)),
      h("p", { class: "look" }, h("a", { class: "button primary", href: this.#chartsLink() }, icon("chart"), "Charts of the host at that time"),
        h("a", { class: "button", href: api.logsLink(this.agent) }, icon("lines"), "Logs of the host"),
        this.#models().map((name) => h("a", { class: "button isolate", href: api.modelLink(name) }, icon("next"), `Model ${name}`)),
        !this.#models().length && one.series?.some((key) => String(key).includes("vedette.model.endpoint=")) ? h("a", { class: "button", href: api.link("#/models", { agent: this.agent }) }, icon("next"), "Models of the host") : null),
    ]);
  }

  /** Models that a series of it names. */
  #models() {
    const names = (this.incident.series ?? []).map((key) => /gen_ai\.request\.model=([^,}]+)/.exec(String(key))?.[1]);
    return [...new Set(names.filter(Boolean))].slice(0, 4);
  }

  /** How bad, who, and what changed before: the first look. */
  #brief() {
    const one = this.incident;
    const found = worst(one);
    const begin = one.onset_ms || one.opened_ms;
    const first = one.suspects?.[0];
    const before = (this.happened?.events ?? []).filter((event) => event.kind !== "incident" && event.time_ms <= begin + 5000);
    const last = before[before.length - 1];
    const tile = (value, word, more) => h("div", { class: "tile" }, h("span", { class: "tile-word" }, word), h("span", { class: "tile-value isolate" }, value), more ? h("span", { class: "sub isolate", title: more } , more) : null);
    redraw(this.brief, [found?.v, found?.t, first, last, before.length, Boolean(this.happened)], () => [
      found ? tile(quantity(found.v, found.how), "Worst reading", expected(found))
        : tile({ critical: "Critical", warning: "Warning" }[severityOf(one.severity)] ?? "Info", "How bad", "no readings of its own"),
      first ? tile(suspectName(first), "First suspect", [isNumber(first.share) && first.share > 0 ? percent(first.share) : "", first.reason || first.text].filter(Boolean).join(", ")) : tile("None", "First suspect", "nothing explains it by its share"),
      last ? tile(`${duration(Math.max(0, begin - last.time_ms))} before`, "Last change", last.text) : tile(this.happened ? "None" : "…", "Last change", this.happened ? "told of in the hour before" : ""),
    ]);
  }

  #verdict(verdict) {
    const words = { ack: "Seen, it was real", "false-alarm": "A false alarm" };
    return h("p", { class: "sub" }, h("b", null, words[verdict.word] ?? verdict.word), ", said ",
      h("span", { class: "isolate" }, verdict.by), " ",
      h("time", { title: exact(verdict.time_ms) }, moment(verdict.time_ms, api.serverNow())),
      verdict.note ? [": ", h("span", { class: "isolate" }, verdict.note)] : null);
  }

  #chartsLink(metric) {
    const one = this.incident;
    const begin = one.onset_ms || one.opened_ms;
    const query = { from: begin - AROUND_MS, to: (one.resolved_ms ?? Math.max(one.updated_ms ?? 0, begin)) + AROUND_MS, metric };
    return api.hostLink(this.agent, query);
  }

  #steps() {
    const one = this.incident;
    const now = api.serverNow();
    const open = one.state !== "resolved";
    this.steps.className = `steps ${severityOf(one.severity)}`;
    redraw(this.steps, [one.onset_ms, one.opened_ms, one.resolved_ms, open], () => {
      const step = (kind, word, ms, more) => h("li", { class: `step ${kind}` },
        h("span", { class: "step-word" }, word),
        h("span", { class: "step-time", title: exact(ms) }, isNumber(ms) ? moment(ms, now) : "–"),
        h("span", { class: "sub" }, more));
      const took = isNumber(one.onset_ms) && isNumber(one.opened_ms) ? `found ${duration(one.opened_ms - one.onset_ms)} after the onset` : "";
      return [
        step("onset", "Onset", one.onset_ms, "first strange reading"),
        step("opened", "Opened", one.opened_ms, took),
        open
          ? h("li", { class: "step ongoing" }, h("span", { class: "step-word" }, "Not resolved"), h("span", { class: "step-time" }, "began ", since(one.onset_ms || one.opened_ms)), h("span", { class: "sub" }, "still going on"))
          : step("resolved", "Resolved", one.resolved_ms, `lasted ${duration(one.resolved_ms - (one.onset_ms || one.opened_ms))}`),
      ];
    });
  }

  #side() {
    const one = this.incident;
    redraw(this.side, [one.suspects, one.history, one.series, one.detectors, this.happened?.events], () => [
      h("section", { class: "panel part", "aria-label": "Suspects" }, h("h2", null, "Suspects"),
        one.suspects?.length ? h("ol", { class: "suspects" }, one.suspects.map((suspect) => this.#suspect(suspect)))
          : h("p", { class: "sub" }, "None: nothing on the host used a share of this resource that would explain it.")),
      this.#before(),
      h("section", { class: "panel part", "aria-label": "History" }, h("h2", null, "History"), this.#history()),
      h("section", { class: "panel part", "aria-label": "Affected series" },
        h("h2", null, "Affected series"),
        h("ul", { class: "keys" }, (one.series ?? []).map((key) => h("li", null,
          h("a", { class: "mono isolate", href: this.#chartsLink(String(key).split("{")[0]) }, key)))),
        one.detectors?.length ? h("p", { class: "sub" }, "Found by ", one.detectors.map((name) => h("span", { class: "chip mono" }, name))) : null),
    ]);
  }

  #before() {
    const events = this.happened?.events ?? [];
    if (!events.length) return null;
    const begin = this.incident.onset_ms || this.incident.opened_ms, now = api.serverNow();
    const { omitted } = this.happened;
    const nearest = [...events].sort((a, b) => Math.abs(a.time_ms - begin) - Math.abs(b.time_ms - begin)).slice(0, AROUND_SHOWN).sort((a, b) => a.time_ms - b.time_ms);
    const more = omitted + events.length - nearest.length;
    return h("section", { class: "panel part", "aria-label": "What happened around it" }, h("h2", null, "What happened around it"),
      h("ul", { class: "told" }, nearest.map((one) => h("li", { class: one.time_ms <= begin ? "" : "quiet" },
        h("time", { class: "sub", title: exact(one.time_ms) }, moment(one.time_ms, now)),
        one.kind === "incident" ? h("a", { class: "isolate", href: api.incidentLink(one.agent, one.place) }, sentence(one.text)) : h("span", { class: "isolate" }, one.text)))),
      more > 0 ? h("p", { class: "sub" }, `${plural(more, "more event")} in that time.`) : null);
  }

  #suspect(suspect) {
    const share = isNumber(suspect.share) ? Math.min(1, Math.max(0, suspect.share)) : null;
    return h("li", { class: "suspect" },
      h("div", { class: "suspect-top" }, h("span", { class: "suspect-name" }, h("b", { class: "isolate" }, suspectName(suspect)),
          h("span", { class: "sub isolate" }, (suspect.kind === "event" ? [suspect.name, suspect.id] : [suspect.kind, suspect.id]).filter(Boolean).join(" "))),
        h("span", { class: "suspect-share" }, share ? percent(share) : "")),
      share ? h("span", { class: "bar-track", "aria-hidden": "true" }, h("span", { class: "bar-fill", css: { width: `${share * 100}%` } })) : null,
      suspect.text && suspect.kind !== "event" ? h("span", { class: "sub isolate" }, suspect.text) : null,
      suspect.reason ? h("span", { class: "sub isolate" }, suspect.reason) : null,
      suspect.time_ns > 0 && !suspect.reason?.includes(clock(suspect.time_ns / 1e6, true)) ? h("time", { class: "sub", title: exact(suspect.time_ns / 1e6) }, this.#relative(suspect.time_ns / 1e6)) : null);
  }

  #relative(ms) {
    const begin = this.incident.onset_ms || this.incident.opened_ms;
    const apart = Math.abs(ms - begin) < 1000 ? "at the onset" : `${duration(Math.abs(ms - begin))} ${ms < begin ? "before" : "after"} the onset`;
    return `${moment(ms, api.serverNow())}, ${apart}`;
  }

  #history() {
    const now = api.serverNow();
    const words = { opened: "Opened", updated: "Updated", resolved: "Resolved" };
    return h("ol", { class: "history" }, (this.incident.history ?? []).map((entry) => {
      const change = String(entry.event ?? "").split(".").pop();
      return h("li", { class: `change ${change === "resolved" ? "resolved" : severityOf(entry.severity)}` },
        h("div", { class: "change-top" }, h("b", null, words[change] ?? change), change === "resolved" ? null : severityBadge(entry.severity),
          h("time", { class: "sub", title: exact(entry.time_ms) }, moment(entry.time_ms, now))),
        h("span", { class: "isolate" }, sentence(entry.title)));
    }));
  }

  #evidence() {
    const one = this.incident;
    const tracks = (one.evidence ?? []).filter((track) => track.values?.length).length;
    redraw(this.evidence, [tracks, one.resolved_ms], () => [
      h("div", { class: "tools" }, h("h2", null, "Evidence"), h("span", { class: "tool-count" }, tracks ? `${plural(tracks, "series", "series")}, raw readings as the host shipped them` : "")),
      h("p", { class: "key-line" },
        h("span", { class: "key expected" }, "expected"), h("span", { class: "key outside" }, "outside it"),
        h("span", { class: "key onset" }, "onset"), h("span", { class: "key opened" }, "opened"), one.resolved_ms ? h("span", { class: "key resolved" }, "resolved") : null,
        h("span", { class: "key event" }, "change or suspect")),
      this.axis.node,
    ]);
    this.axis.set(one, happenings(one, this.happened?.events, this.said));
  }

  summaryTitle() {
    return this.incident ? clean(this.incident.title) : "Incident";
  }
}

/** What was expected of a reading, in words. */
function expected({ track, how }) {
  const { low, high } = track;
  const [least, most] = [low, high].map((v) => (isNumber(v) ? quantity(v, how) : null));
  const band = least && most ? `expected ${least} to ${most}` : most ? `expected up to ${most}` : least ? `expected ${least} at least` : "";
  return [band, String(track.series).split("{")[0]].filter(Boolean).join(" · ");
}
