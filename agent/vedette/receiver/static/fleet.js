// The fleet: what is wrong now, then every host in one dense list.

import * as api from "./api.js";
import { clean, h, icon, keyed, put, redraw } from "./dom.js";
import { bytes, duration, isNumber, percent, plural } from "./format.js";
import { sparkline } from "./spark.js";
import {
  HEALTH, SEVERITIES, capacity, command, completeness, emptyState, healthBadge, healthOf, hostName,
  incidentRow, labelChips, meter, openCounts, setSince, since, skeleton, worstFirst,
} from "./words.js";

const SHOWN_INCIDENTS = 5;
const HEALTH_RANK = { silent: 0, degraded: 1, stopped: 2, ok: 2 };
const kept = { hosts: null, incidents: null, sort: "attention", down: false, find: "", only: "all" };

const openTotal = (host) => SEVERITIES.reduce((sum, name) => sum + (host.open?.[name] ?? 0), 0);
const trouble = (host) =>
  (host.open?.critical ?? 0) * 1e6 + (host.open?.warning ?? 0) * 1e3 + (host.open?.info ?? 0) +
  (2 - HEALTH_RANK[healthOf(host)]) * 1e5;

const natural = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const byName = (a, b) => natural.compare(hostName(a), hostName(b)) || natural.compare(a.agent, b.agent);
const number = (pick) => (a, b) => (pick(b) ?? -Infinity) - (pick(a) ?? -Infinity);
const SORTS = {
  attention: ["Needs attention", (a, b) => trouble(b) - trouble(a)],
  name: ["Name", byName],
  seen: ["Longest unseen", (a, b) => (a.last_seen_ms ?? 0) - (b.last_seen_ms ?? 0)],
  incidents: ["Open incidents", number(openTotal)],
  cpu: ["CPU", number((host) => host.headline?.cpu)],
  memory: ["Memory", number((host) => host.headline?.memory)],
  disk: ["Disk", number((host) => host.headline?.disk)],
  delivery: ["Missing batches", number((host) => (host.missing ?? 0) * 1e6 + (host.backlog_batches ?? 0))],
};

const FILTERS = {
  all: ["All", () => true],
  ok: [HEALTH.ok, (host) => healthOf(host) === "ok"],
  degraded: [HEALTH.degraded, (host) => healthOf(host) === "degraded"],
  silent: [HEALTH.silent, (host) => healthOf(host) === "silent"],
  incidents: ["With incidents", (host) => openTotal(host) > 0],
};

function searchText(host) {
  return [
    host.host, host.agent, host.os, host.version, host.host_id, ...(host.reasons ?? []),
    ...Object.entries(host.labels ?? {}).map(([key, value]) => `${key}=${value}`),
  ].join("\n").toLowerCase();
}

/** One host as a row of the table; a card on a phone. */
class HostRow {
  constructor(host) {
    const cell = (name, label, ...children) => h("td", { class: `cell-${name}`, role: "cell", "data-label": label }, children);
    this.health = h("span", { class: "row-health" });
    this.name = h("a", { class: "row-name isolate", href: api.hostLink(host.agent) });
    this.facts = h("span", { class: "row-facts isolate" });
    this.labels = h("span", { class: "row-labels" });
    this.seen = since(host.last_seen_ms);
    this.lag = h("span", { class: "sub" });
    this.open = h("span");
    this.spark = h("span", { class: "row-spark" });
    this.cpu = h("span");
    this.memory = h("span");
    this.disk = h("span");
    this.sent = h("span");
    this.backlog = h("span", { class: "sub" });
    this.version = h("span", { class: "isolate" });
    this.cost = h("span", { class: "sub" });
    this.node = h("tr", { role: "row" },
      h("th", { class: "cell-host", scope: "row", role: "rowheader" },
        this.health, h("span", { class: "row-words" }, h("span", { class: "row-top" }, this.name, this.labels), this.facts)),
      cell("seen", "Last seen", this.seen, this.lag),
      cell("open", "Incidents", this.open),
      cell("cpu", "CPU", this.cpu, this.spark),
      cell("memory", "Memory", this.memory),
      cell("disk", "Disk", this.disk),
      cell("sent", "Delivery", this.sent, this.backlog),
      cell("agent", "Agent", this.version, this.cost));
  }

  update(host) {
    const text = JSON.stringify(host);
    if (text === this.text) return;
    this.text = text;
    const health = healthOf(host);
    this.node.className = `row ${health}`;
    redraw(this.health, health, () => healthBadge(health, false));
    put(this.name, hostName(host));
    const why = health === "ok" || health === "stopped" ? "" : (host.reasons ?? []).join("; ");
    put(this.facts, why || [host.os, ...capacity(host), host.models ? plural(host.models, "model") : ""].filter(Boolean).join(" · ") || "no facts yet");
    this.facts.classList.toggle("why", Boolean(why));
    this.facts.title = clean(why || host.os || "");
    redraw(this.labels, host.labels ?? {}, () => labelChips(host.labels, 2));
    setSince(this.seen, host.last_seen_ms);
    put(this.lag, isNumber(host.lag_s) ? `lag ${duration(host.lag_s * 1000)}` : "");
    redraw(this.open, host.open ?? {}, () => openCounts(host.open));
    redraw(this.cpu, [host.headline?.cpu], () => meter(host.headline?.cpu, "CPU busy"));
    redraw(this.memory, [host.headline?.memory], () => meter(host.headline?.memory, "Memory used"));
    redraw(this.disk, [host.headline?.disk], () => meter(host.headline?.disk, "Fullest filesystem"));
    redraw(this.spark, host.spark?.cpu ?? [], () => sparkline(host.spark?.cpu, { max: 1, width: 88, height: 26 }));
    redraw(this.sent, [host.missing, host.received], () => completeness(host));
    put(this.backlog, host.backlog_batches > 0 ? `backlog ${host.backlog_batches}` : "no backlog");
    this.backlog.classList.toggle("notable", host.backlog_batches > 0);
    put(this.version, host.version ? `v${host.version}` : "–");
    put(this.cost, isNumber(host.agent_rss) ? `${percent(host.agent_cpu)} · ${bytes(host.agent_rss)}` : "");
  }
}

export class FleetView {
  title = "Fleet";

  mount(root) {
    this.strip = h("section", { class: "strip", "aria-label": "Summary" });
    this.worst = h("section", { class: "block", "aria-label": "Open incidents" });
    this.body = h("div");
    this.rows = h("tbody", { role: "rowgroup" });
    this.nothing = h("p", { class: "none-found", hidden: true });
    this.list = h("section", { class: "block", "aria-label": "Hosts", hidden: true },
      this.#tools(),
      h("div", { class: "panel" }, h("table", { class: "hosts", role: "table", "aria-label": "Hosts" }, this.#head(), this.rows), this.nothing));
    this.wait = skeleton(6);
    root.append(h("h1", { class: "unseen", tabindex: "-1" }, "Fleet"), this.strip, this.worst, this.wait, this.body, this.list);
    if (kept.hosts) this.show();
    else redraw(this.strip, "wait", () => skeleton(1, "tall"));
  }

  #head() {
    const columns = [
      ["Host", "name"], ["Last seen", "seen"], ["Incidents", "incidents"], ["CPU", "cpu"], ["Memory", "memory"],
      ["Disk", "disk"], ["Delivery", "delivery"], ["Agent", null],
    ];
    this.heads = new Map();
    return h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([word, sort]) => {
      const head = h("th", { scope: "col", role: "columnheader", class: `head-${sort ?? "agent"}` },
        sort ? h("button", { type: "button", class: "sorter", onclick: () => this.#sort(sort) }, word) : h("span", { class: "sorter" }, word));
      if (sort) this.heads.set(sort, head);
      return head;
    })));
  }

  #tools() {
    this.find = h("input", {
      type: "search", class: "find", id: "find", placeholder: "Find a host, label, OS …", "aria-label": "Find hosts",
      autocomplete: "off", spellcheck: "false", value: kept.find,
      oninput: () => {
        kept.find = this.find.value;
        this.#list();
      },
    });
    this.filters = h("div", { class: "segments", role: "group", "aria-label": "Filter by health" });
    this.order = h("select", {
      class: "select", "aria-label": "Sort hosts",
      onchange: () => {
        Object.assign(kept, { sort: this.order.value, down: false });
        this.#list();
      },
    }, Object.entries(SORTS).map(([key, [word]]) => h("option", { value: key }, word)));
    this.count = h("span", { class: "tool-count" });
    return h("div", { class: "tools" },
      h("h2", null, "Hosts"), this.count,
      h("span", { class: "grow" }),
      h("label", { class: "field search-field" }, icon("search"), this.find, h("kbd", { "aria-hidden": "true" }, "/")),
      this.filters,
      h("label", { class: "field" }, h("span", { class: "field-word" }, "Sort"), this.order));
  }

  #sort(sort) {
    if (kept.sort === sort) kept.down = !kept.down;
    else Object.assign(kept, { sort, down: false });
    this.#list();
  }

  async refresh(signal) {
    const [hosts, incidents] = await Promise.all([
      api.hosts(signal), api.incidents({ state: "open", limit: 200 }, signal),
    ]);
    kept.hosts = hosts.hosts ?? [];
    kept.incidents = (incidents.incidents ?? []).filter((one) => one.state !== "resolved").sort(worstFirst);
    this.show();
  }

  show() {
    this.wait.remove();
    const { hosts, incidents } = kept;
    this.list.hidden = !hosts.length;
    this.strip.hidden = !hosts.length;
    redraw(this.body, hosts.length ? "some" : "none", () => (hosts.length ? [] : this.#welcome()));
    if (!hosts.length) {
      redraw(this.worst, "none", () => []);
      return;
    }
    this.#summary(hosts, incidents);
    this.#incidents(incidents);
    this.#list();
  }

  #welcome() {
    return emptyState(
      "No host has reported yet",
      "Point an agent here in its agent.toml and start it: the host appears within seconds.",
      command("[[outputs.otlp]]", 'id = "fleet"', `endpoint = "${location.origin}"`, "", "$ vedette run"),
      h("p", { class: "sub" }, "Only trying it out? ", h("code", null, "vedette up"), " runs an agent and this receiver together. ",
        h("code", null, "vedette drill"),  " then makes bounded trouble on purpose, so that you can watch it being found."));
  }

  #summary(hosts, incidents) {
    const count = (health) => hosts.filter((host) => healthOf(host) === health).length;
    const numbers = { ok: count("ok"), degraded: count("degraded"), silent: count("silent"), stopped: count("stopped") };
    const missing = hosts.reduce((sum, host) => sum + (host.missing ?? 0), 0);
    const backlog = hosts.reduce((sum, host) => sum + (host.backlog_batches ?? 0), 0);
    const open = Object.fromEntries(SEVERITIES.map((name) => [name, incidents.filter((one) => one.severity === name).length]));
    redraw(this.strip, [numbers, open, missing, backlog, hosts.length, kept.only], () => {
      const tile = (filter, kind, value, word) =>
        h("button", {
          type: "button", class: `tile ${kind}${value === 0 ? " zero" : ""}`, "aria-pressed": String(kept.only === filter && filter !== "all"),
          onclick: () => {
            kept.only = kept.only === filter ? "all" : filter;
            this.show();
          },
        }, h("span", { class: "tile-value" }, kind ? icon(kind) : null, String(value)), h("span", { class: "tile-word" }, word));
      return [
        tile("all", "", hosts.length, (hosts.length === 1 ? "host" : "hosts") + (numbers.stopped ? `, ${numbers.stopped} stopped` : "")),
        tile("ok", "ok", numbers.ok, "healthy"),
        tile("degraded", "degraded", numbers.degraded, "degraded"),
        tile("silent", "silent", numbers.silent, "silent"),
        h("a", { class: "tile wide", href: "#/incidents" },
          h("span", { class: "tile-value severities" }, SEVERITIES.map((name) =>
            h("span", { class: `severity ${name}${open[name] ? "" : " zero"}` }, icon(name), String(open[name]), h("span", { class: "severity-word" }, name)))),
          h("span", { class: "tile-word" }, "open incidents")),
        h("div", { class: "tile" },
          h("span", { class: `tile-value delivery ${missing ? "bad" : ""}` },
            icon(missing ? "warning" : "check"), missing ? plural(missing, "batch", "batches") : "Complete"),
          h("span", { class: "tile-word" }, missing ? "missing" : backlog ? `delivery, ${backlog} waiting at hosts` : "delivery, nothing missing")),
      ];
    });
  }

  #incidents(incidents) {
    redraw(this.worst, incidents.slice(0, 50).map((one) => [one.agent, one.id, one.severity, one.title, one.suspects?.[0]]), () => {
      if (!incidents.length)
        return h("p", { class: "calm" }, icon("ok"), "No open incident: nothing unusual on the hosts that report.");
      const more = incidents.length - SHOWN_INCIDENTS;
      return [
        h("div", { class: "tools" }, h("h2", null, "Open incidents"), h("span", { class: "tool-count" }, incidents.length),
          h("span", { class: "grow" }), h("a", { class: "more-link", href: "#/incidents" }, "All incidents", icon("next"))),
        h("ul", { class: "panel incidents" }, incidents.slice(0, SHOWN_INCIDENTS).map((one) => incidentRow(one, { state: false })),
          more > 0 ? h("li", { class: "incident-more" }, h("a", { href: "#/incidents" }, `${more} more open`)) : null),
      ];
    });
  }

  #list() {
    const { hosts } = kept;
    const words = kept.find.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const [, wanted] = FILTERS[kept.only] ?? FILTERS.all;
    const found = hosts.filter((host) => wanted(host) && words.every((word) => searchText(host).includes(word)));
    const [, order] = SORTS[kept.sort] ?? SORTS.attention;
    found.sort((a, b) => (kept.down ? -1 : 1) * order(a, b) || byName(a, b));
    keyed(this.rows, found, (host) => host.agent, (host) => new HostRow(host));
    put(this.count, found.length === hosts.length ? hosts.length : `${found.length} of ${hosts.length}`);
    this.nothing.hidden = found.length > 0;
    put(this.nothing, words.length ? `No host matches “${kept.find.trim()}”.` : "No host is in this state.");
    this.order.value = kept.sort;
    for (const [sort, head] of this.heads) {
      const state = kept.sort !== sort ? "none" : (sort === "name" || sort === "seen") !== kept.down ? "ascending" : "descending";
      head.setAttribute("aria-sort", state);
    }
    redraw(this.filters, [kept.only, hosts.length], () => Object.entries(FILTERS).map(([key, [word]]) =>
      h("button", {
        type: "button", class: "segment", "aria-pressed": String(kept.only === key),
        onclick: () => {
          kept.only = key;
          this.show();
        },
      }, word)));
  }

  summaryTitle() {
    const open = kept.incidents?.length ?? 0;
    return open ? `(${open}) Fleet` : "Fleet";
  }
}

