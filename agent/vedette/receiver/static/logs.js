// The logs of one host: what it writes, folded into templates; how often, since when, from where.

import * as api from "./api.js";
import { h, icon, keyed, put, redraw } from "./dom.js";
import { bytes, exact, isNumber, moment, plural, whole } from "./format.js";
import { gradeBadge, logText, sourceParts } from "./log_words.js";
import { sparkline } from "./spark.js";
import { emptyState, hostName, setSince, since, skeleton } from "./words.js";

const PAGE = 200, MOST = 5000;
const TYPED_MS = 250; // after the last key, before the receiver is asked
const STALE_MS = 600_000; // after its newest window, what is shown is a host's last hour
const SOURCES_SHOWN = 12;
const GRADES = { error: ["Errors", "critical"], warning: ["Warnings", "warning"], info: ["Info", "info"], debug: ["Debug", "silent"] };
const SORTS = {
  severity: "Gravest first", count: "Most in the last hour", last: "Seen last", first: "Newest", total: "Most in all", source: "Source", text: "Text",
};
const RISING = new Set(["source", "text"]);
const COLUMNS = [["Severity", "severity"], ["Template", "text"], ["Last hour", "count"], ["Last seen", "last"], ["First seen", "first"]];

/** One template as a row of the table. */
class LineRow {
  constructor(view, line) {
    const cell = (name, label, ...children) => h("td", { class: `line-${name}`, role: "cell", "data-label": label }, children);
    this.view = view;
    this.badge = h("span");
    this.text = h("a", { class: "line-text isolate", href: api.logLink(view.agent, line.source, line.uid) });
    this.facts = h("span", { class: "line-facts" });
    this.count = h("span", { class: "line-number" });
    this.spark = h("span", { class: "line-spark" });
    this.last = since(line.last_ms);
    this.first = since(line.first_ms);
    this.node = h("tr", { class: "row", role: "row" },
      cell("severity", "", this.badge),
      h("th", { class: "line-words", scope: "row", role: "rowheader" }, this.text, this.facts),
      cell("count", "Last hour", this.count, this.spark), cell("last", "Last seen", this.last), cell("first", "First seen", this.first));
  }

  update(line) {
    const { newest_ms: newest, step_ms: step } = this.view.answer;
    redraw(this.badge, [line.severity], () => gradeBadge(line.severity));
    redraw(this.text, line.text, () => logText(line.text || "(no text)"));
    redraw(this.facts, [line.source, line.new], () => [line.new ? h("span", { class: "state open" }, "New") : null, sourceName(line.source)]);
    put(this.count, line.hour ? whole(line.hour) : "none");
    this.count.classList.toggle("quiet", !line.hour);
    redraw(this.spark, [line.spark, newest], () => (line.hour ? hourLine(line.spark, newest, step) : []));
    setSince(this.last, line.last_ms);
    setSince(this.first, line.first_ms);
  }
}

const hourLine = (counts, newest, step) =>
  sparkline(counts.map((count, i) => [newest - (counts.length - 1 - i) * step, count]), { width: 88, height: 24 });

function sourceName(source) {
  const [place, name] = sourceParts(source);
  return h("span", { class: "line-source", title: source }, h("bdi", { class: "quiet" }, place), h("bdi", null, name));
}

export class LogsView {
  title = "Logs";
  limit = PAGE;
  text = "";

  constructor([agent], params) {
    Object.assign(this, { agent, params });
  }

  mount(root) {
    this.head = h("header", { class: "host-head" });
    this.strip = h("section", { class: "strip facts", "aria-label": "The last hour" });
    this.rows = h("tbody", { role: "rowgroup" });
    this.nothing = h("p", { class: "none-found", hidden: true }, "No line matches these filters.");
    this.more = h("button", {
      type: "button", class: "button", hidden: true,
      onclick: () => {
        this.limit = Math.min(this.limit * 3, MOST);
        this.#ask();
      },
    }, "Show more");
    this.list = h("section", { class: "block", "aria-label": "Templates", hidden: true }, this.#tools(),
      h("div", { class: "panel" }, h("table", { class: "loglines", role: "table", "aria-label": "Templates" }, this.#columns(), this.rows), this.nothing), this.more);
    this.sources = h("section", { class: "block", "aria-label": "Sources" });
    this.told = h("section", { class: "block lists", "aria-label": "Masked and lost" });
    this.empty = h("div");
    this.wait = skeleton(6);
    root.append(this.head, this.strip, this.empty, this.wait, this.list, this.sources, this.told);
    redraw(this.head, "wait", () => [h("a", { class: "crumb", href: api.hostLink(this.agent) }, icon("back"), "Host"), h("h1", { tabindex: "-1" }, "Logs")]);
    redraw(this.strip, "wait", () => skeleton(1, "tall"));
  }

  navigate(params) {
    this.params = params;
    this.limit = PAGE;
    return true;
  }

  destroy() {
    clearTimeout(this.typing);
  }

  // ------------------------------------------------------------ filters

  #grade = () => (this.params.severity in GRADES ? this.params.severity : "");
  #sort = () => (this.params.sort in SORTS ? this.params.sort : "severity");
  #link = (more) => api.logsLink(this.agent, { ...this.params, ...more });

  #ask() {
    dispatchEvent(new CustomEvent("vedette:refresh"));
  }

  #tools() {
    this.find = h("input", {
      type: "search", class: "find", id: "find", placeholder: "Find in templates", "aria-label": "Find in templates", autocomplete: "off",
      spellcheck: "false", maxlength: 256,
      oninput: () => {
        clearTimeout(this.typing);
        this.typing = setTimeout(() => {
          this.text = this.find.value.trim();
          this.limit = PAGE;
          this.#ask();
        }, TYPED_MS);
      },
    });
    this.count = h("span", { class: "tool-count" });
    this.grades = h("div", { class: "segments", role: "group", "aria-label": "Severity" });
    this.fresh = h("div", { class: "segments", role: "group", "aria-label": "New ones" });
    this.source = h("div", { class: "chosen" });
    this.order = h("select", {
      class: "select", "aria-label": "Sort templates",
      onchange: () => {
        location.hash = this.#link({ sort: this.order.value, reverse: "" });
      },
    }, Object.entries(SORTS).map(([key, word]) => h("option", { value: key }, word)));
    return h("div", { class: "tools" }, h("h2", null, "Templates"), this.count, this.source, h("span", { class: "grow" }),
      h("label", { class: "field search-field" }, icon("search"), this.find, h("kbd", { "aria-hidden": "true" }, "/")),
      this.grades, this.fresh, h("label", { class: "field" }, h("span", { class: "field-word" }, "Sort"), this.order));
  }

  #columns() {
    this.heads = new Map();
    return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, COLUMNS.map(([word, sort]) => {
      const link = h("a", { class: "sorter", href: "#/" }, word);
      const head = h("th", { scope: "col", role: "columnheader", class: `line-${sort === "text" ? "words" : sort}` }, link);
      this.heads.set(sort, { head, link });
      return head;
    })));
  }

  #drawFilters() {
    const grade = this.#grade(), sort = this.#sort();
    const { reverse, source } = this.params, fresh = this.params.new;
    const choice = (query, word, current, mark) => h("a", { class: "segment", "aria-current": current ? "true" : null, href: this.#link(query) }, mark ? icon(mark) : null, word);
    redraw(this.grades, this.params, () => [choice({ severity: "" }, "Any severity", !grade),
      Object.entries(GRADES).map(([key, [word, mark]]) => choice({ severity: key }, word, grade === key, mark))]);
    redraw(this.fresh, this.params, () => [choice({ new: "" }, "All", fresh !== "1"), choice({ new: "1" }, "New only", fresh === "1")]);
    redraw(this.source, this.params, () => (source
      ? h("a", { class: "segment fixed", href: this.#link({ source: "" }) }, h("span", { class: "isolate" }, sourceParts(source)[1]), icon("close"), h("span", { class: "unseen" }, "of all sources"))
      : []));
    this.order.value = sort;
    for (const [key, { head, link }] of this.heads) {
      const own = key === sort;
      link.setAttribute("href", this.#link({ sort: key, reverse: own && reverse !== "1" ? "1" : "" }));
      head.setAttribute("aria-sort", own ? (RISING.has(key) === (reverse !== "1") ? "ascending" : "descending") : "none");
    }
  }

  // ------------------------------------------------------------ data

  async refresh(signal) {
    const { host } = await api.host(this.agent, signal);
    this.#drawFilters();
    const query = {
      text: this.text, source: this.params.source ?? "", severity: this.#grade(), new: this.params.new === "1" ? 1 : "", sort: this.#sort(),
      reverse: this.params.reverse === "1" ? 1 : "", limit: this.limit,
    };
    const wanted = JSON.stringify([query, host.logs_ms, host.received]);
    this.host = host;
    if (wanted === this.shown) return;
    this.answer = await api.logs(this.agent, query, signal);
    this.shown = wanted;
    this.#draw();
  }

  #draw() {
    const { answer, host } = this;
    this.wait.remove();
    const some = isNumber(answer.newest_ms);
    for (const node of [this.strip, this.list, this.sources, this.told]) node.hidden = !some;
    redraw(this.head, [host.host, answer.newest_ms], () => [
      h("a", { class: "crumb", href: api.hostLink(this.agent) }, icon("back"), hostName(host)),
      h("div", { class: "host-title" }, h("h1", { class: "isolate", tabindex: "-1" }, `Logs of ${hostName(host)}`),
        some ? h("span", { class: "sub" }, "newest window ", since(answer.newest_ms)) : null),
    ]);
    redraw(this.empty, some, () => (some ? [] : emptyState("No logs yet",
      "This host has told of no log line. Its agent reads them where the collector “logs” is on, and tells of them with each window: how often which kind of line was written, never the logs themselves.")));
    if (!some) return;
    this.#drawHour();
    keyed(this.rows, answer.templates, (one) => `${one.source}\n${one.uid}`, (one) => new LineRow(this, one));
    put(this.count, answer.matching === answer.known ? whole(answer.known) : `${whole(answer.matching)} of ${whole(answer.known)}`);
    this.nothing.hidden = answer.templates.length > 0;
    this.more.hidden = answer.templates.length >= answer.matching || this.limit >= MOST;
    this.#drawSources();
    this.#drawTold();
  }

  #drawHour() {
    const { hour, known, told, newest_ms: newest, now_ms: now } = this.answer;
    const span = now - newest > STALE_MS ? "its last hour" : "the last hour";
    const lost = told.lost?.lost ?? 0;
    redraw(this.strip, [hour, known, told, span], () => {
      const tile = (value, word, more, mark) => h("div", { class: `tile${value === "0" ? " zero" : ""}` },
        h("span", { class: "tile-value" }, mark ? icon(mark) : null, value), h("span", { class: "tile-word" }, word), more ? h("span", { class: "sub" }, more) : null);
      return [
        tile(whole(hour.events), `events in ${span}`, hour.untold ? `${whole(hour.untold)} not told by template` : `of ${plural(hour.templates, "template")}`),
        tile(whole(hour.errors), "errors", "", "critical"), tile(whole(hour.warnings), "warnings", "", "warning"),
        tile(whole(hour.new), "new templates", `${whole(known)} known`),
        tile(whole(told.touched ?? 0), "texts masked", `of ${whole(told.texts ?? 0)} since the agent started`),
        tile(lost ? bytes(told.lost["lost.bytes"] ?? 0) : "Nothing", "lost unread", told.lost?.["lost.entries"] ? `and ${plural(told.lost["lost.entries"], "entry", "entries")} of the journal` : ""),
      ];
    });
  }

  #drawSources() {
    const { sources } = this.answer;
    redraw(this.sources, [sources, this.allSources, this.params], () => {
      const shown = this.allSources ? sources : sources.slice(0, SOURCES_SHOWN);
      const number = (word, value, kind = "") => h("td", { class: `${kind && value ? `notable ${kind}` : ""}`, role: "cell", "data-label": word }, value ? whole(value) : h("span", { class: "quiet" }, "none"));
      const words = ["Source", "Templates", "Last hour", "Warnings", "Errors", "All events", "All warnings", "All errors", "Read", "Last window"];
      return [
        h("div", { class: "tools" }, h("h2", null, "Sources"), h("span", { class: "tool-count" }, whole(sources.length)),
          h("span", { class: "sub" }, "by template in the last hour, then all that the agent has read")),
        h("div", { class: "panel" }, h("table", { class: "loglines sums", role: "table", "aria-label": "Sources" },
          h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, words.map((word) => h("th", { scope: "col", role: "columnheader" }, h("span", { class: "sorter" }, word))))),
          h("tbody", { role: "rowgroup" }, shown.map((one) => h("tr", { class: "row", role: "row" },
            h("th", { class: "line-words", scope: "row", role: "rowheader" }, h("a", { class: "line-name", href: this.#link({ source: one.source }) }, sourceName(one.source))),
            number("Templates", one.templates), number("Last hour", one.hour), number("Warnings, last hour", one.hour_warnings, "warning"),
            number("Errors, last hour", one.hour_errors, "critical"), number("All events", one.events), number("All warnings", one.warnings),
            number("All errors", one.errors), h("td", { role: "cell", "data-label": "Read" }, bytes(one.bytes)),
            h("td", { role: "cell", "data-label": "Last window" }, since(one.newest_ms))))))),
        sources.length > shown.length ? h("button", {
          type: "button", class: "legend-more",
          onclick: () => {
            this.allSources = true;
            this.#drawSources();
          },
        }, `${sources.length - shown.length} more`) : null,
      ];
    });
  }

  #drawTold() {
    const { told, began_ms: began } = this.answer;
    const hits = Object.entries(told.hits ?? {}).sort(([, a], [, b]) => b - a);
    const lost = Object.entries(told.lost ?? {}).filter(([key, value]) => key !== "lost" && value > 0);
    const words = { "lost.bytes": "Bytes of files", "lost.entries": "Entries of the journal", "lost.gaps": "Gaps", "lost.damaged": "Damaged entries" };
    const row = (word, value) => h("li", { class: "sum" }, h("span", { class: "isolate" }, word), h("span", null, value));
    redraw(this.told, [told, began], () => [
      h("div", { class: "panel barlist" }, h("h3", null, "Masked on the host"),
        h("p", { class: "sub" }, `Of ${plural(told.texts ?? 0, "text")} sent since the agent started, something was masked in ${whole(told.touched ?? 0)}.`),
        h("ul", { class: "sums-list" }, hits.map(([rule, count]) => row(rule, whole(count))))),
      h("div", { class: "panel barlist" }, h("h3", null, "Lost before it was read"),
        lost.length ? h("ul", { class: "sums-list" }, lost.map(([key, value]) => row(words[key] ?? key, key === "lost.bytes" ? bytes(value) : whole(value))))
          : h("p", { class: "sub" }, "Nothing, as far as the agent knows."),
        h("p", { class: "sub" }, "Logs known since ", h("time", { title: exact(began) }, moment(began, api.serverNow(), false)), ".")),
    ]);
  }

  summaryTitle() {
    return this.host ? `Logs of ${hostName(this.host)}` : "Logs";
  }
}

