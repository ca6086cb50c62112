// The models of the fleet: one row for each model, version, server and layer, worst first.

import * as api from "./api.js";
import { clean, h, icon, keyed, put, redraw } from "./dom.js";
import { digits, duration, exact, isNumber, percent, plural } from "./format.js";
import { LAYERS, errorShare, modelName, notTold, perSecond, quantiles, upState } from "./model_words.js";
import { sparkline } from "./spark.js";
import { emptyState, openCounts, skeleton } from "./words.js";

const PAGE = 300, MOST = 2000;
const TYPED_MS = 250;
const kept = { answer: null, text: "" };
/** Heading, class, and which optional figure it needs (any of the fleet's models has it). */
const COLUMNS = [
  ["Model", "model"], ["Requests/s", "rate"], ["Failed", "failed"], ["First token", "ttft", "ttft"], ["Duration", "took"], ["Waiting", "wait"],
  ["KV cache", "kv", "kv"], ["Tokens/s", "tokens", "tokens_out"], ["Drift", "drift", "drift"], ["Budget", "budget", "budget"], ["Burn", "burn", "burn"],
  ["Up", "up"], ["Incidents", "open"],
];

class ModelRow {
  constructor(view, one) {
    this.view = view;
    this.name = h("a", { class: "row-name isolate", href: api.modelLink(one.model, one.model ? {} : { server: one.server }) });
    this.facts = h("span", { class: "row-facts isolate" });
    this.cells = new Map();
    this.node = h("tr", { class: "row", role: "row" },
      h("th", { class: "m-model", scope: "row", role: "rowheader" }, h("span", { class: "row-words" }, this.name, this.facts)),
      COLUMNS.slice(1).map(([word, kind]) => {
        const cell = h("td", { class: `m-${kind}`, role: "cell", "data-label": word });
        this.cells.set(kind, cell);
        return cell;
      }));
  }

  update(one) {
    const { columns, now_ms: now, line_step_s: step } = this.view.answer;
    const text = JSON.stringify([one, columns]);
    if (text === this.text) return;
    this.text = text;
    const f = one.figures;
    for (const [, kind, needs] of COLUMNS) if (needs) this.cells.get(kind).hidden = !columns.includes(needs);
    this.node.classList.toggle("silent", one.silent === one.hosts);
    put(this.name, modelName(one));
    const release = one.releases.length > 1 ? plural(one.releases.length, "release") : one.releases[0] ?? "";
    put(this.facts, [one.served ? "" : "never answered well", one.version ? `version ${one.version}` : "", [one.model ? one.server : "", release].filter(Boolean).join(" "),
      plural(one.hosts, "host"), one.endpoints > one.hosts ? plural(one.endpoints, "server") : ""].filter(Boolean).join(" · "));
    this.facts.title = clean([...one.names, ...one.releases].join(", "));
    const fill = (kind, signature, make) => redraw(this.cells.get(kind), signature, make);
    fill("rate", [f.rate, f.timed, f.line], () => [
      isNumber(f.rate) ? h("span", { class: "number", title: f.timed ? "counted by how many were timed: this server counts none" : "in the last minutes" }, perSecond(f.rate))
        : f.errors_told === "no" && one.hosts > one.silent ? notTold("This server counts no requests") : h("span", { class: "quiet" }, "–"),
      h("span", { class: "row-spark" }, sparkline(f.line.map((v, i) => [now - (f.line.length - 1 - i) * step * 1000, v]), { width: 74, height: 24 })),
    ]);
    fill("failed", [f.errors, f.errors_told, f.untold], () => errorShare(f));
    fill("ttft", f.ttft ?? "none", () => quantiles(f.ttft, "no first token was timed in the last minutes"));
    fill("took", f.duration ?? "none", () => quantiles(f.duration, "nothing was timed in the last minutes"));
    fill("wait", [f.waiting, f.running], () => [
      isNumber(f.waiting) ? h("span", { class: f.waiting > 0 ? "number" : "quiet" }, digits(f.waiting)) : notTold("This server does not tell its queue"),
      isNumber(f.running) ? h("span", { class: "sub" }, `${digits(f.running)} running`) : null]);
    fill("kv", [f.kv], () => (isNumber(f.kv) ? kvBar(f.kv) : h("span", { class: "quiet" }, "–")));
    fill("tokens", [f.tokens_out, f.tokens_in], () => (isNumber(f.tokens_out) ? [h("span", { class: "number" }, perSecond(f.tokens_out)),
      isNumber(f.tokens_in) ? h("span", { class: "sub" }, `${perSecond(f.tokens_in)} read`) : null] : h("span", { class: "quiet" }, "–")));
    fill("drift", [f.drift], () => (isNumber(f.drift) ? digits(f.drift) : h("span", { class: "quiet" }, "–")));
    fill("budget", [f.budget], () => (isNumber(f.budget) ? h("span", { class: f.budget <= 0 ? "errors critical" : f.budget < 0.25 ? "errors warning" : "" }, `${percent(f.budget)} left`) : h("span", { class: "quiet" }, "–")));
    fill("burn", [f.burn], () => (isNumber(f.burn) ? h("span", { class: f.burn > 1 ? "errors warning" : "" }, `${digits(f.burn)}×`) : h("span", { class: "quiet" }, "–")));
    fill("up", [one.up, one.down, one.silent, one.since_ms], () => upState(one) ?? (isNumber(one.since_ms)
      ? h("time", { title: `answers since ${exact(one.since_ms)}` }, duration(now - one.since_ms)) : one.up ? "up" : h("span", { class: "quiet" }, "–")));
    fill("open", one.open, () => openCounts(one.open));
  }
}

function kvBar(share) {
  const level = share >= 0.95 ? " full" : share >= 0.85 ? " high" : "";
  return h("span", { class: `meter${level}`, title: "share of the KV cache in use; the fullest server counts" }, h("span", { class: "meter-value" }, percent(share)),
    h("span", { class: "meter-track", "aria-hidden": "true" }, h("span", { class: "meter-fill", css: { width: `${Math.min(1, Math.max(0, share)) * 100}%` } })));
}

export class ModelsView {
  title = "Models";
  limit = PAGE;

  constructor(_, params) {
    this.agent = params.agent ?? "";
  }

  mount(root) {
    this.find = h("input", {
      type: "search", class: "find", id: "find", placeholder: "Find a model, server, version", "aria-label": "Find models", autocomplete: "off",
      spellcheck: "false", maxlength: 256, value: kept.text,
      oninput: () => {
        clearTimeout(this.typing);
        this.typing = setTimeout(() => {
          kept.text = this.find.value.trim();
          this.limit = PAGE;
          dispatchEvent(new CustomEvent("vedette:refresh"));
        }, TYPED_MS);
      },
    });
    this.count = h("span", { class: "tool-count" });
    this.span = h("span", { class: "sub" });
    this.parts = new Map(LAYERS.map(([layer, word]) => [layer, this.#part(word)]));
    this.nothing = h("div", { hidden: true });
    this.note = h("p", { class: "sub m-note" });
    this.wait = skeleton(6);
    this.more = h("button", {
      type: "button", class: "button", hidden: true,
      onclick: () => {
        this.limit = Math.min(this.limit * 3, MOST);
        dispatchEvent(new CustomEvent("vedette:refresh"));
      },
    }, "Show more");
    root.append(
      h("div", { class: "tools page-head" }, h("h1", { tabindex: "-1" }, this.agent ? "Models of a host" : "Models"), this.agent ? h("a", { class: "more-link", href: "#/models" }, "All models") : null, this.count, this.span, h("span", { class: "grow" }),
        h("label", { class: "field search-field" }, icon("search"), this.find, h("kbd", { "aria-hidden": "true" }, "/"))),
      this.wait, ...[...this.parts.values()].map((part) => part.node), this.nothing, this.more, this.note);
    if (kept.answer && kept.agent === this.agent) this.#show(kept.answer);
  }

  #part(word) {
    const heads = COLUMNS.map(([name, kind]) => h("th", { scope: "col", role: "columnheader", class: `m-${kind}` }, h("span", { class: "sorter" }, name)));
    const rows = h("tbody", { role: "rowgroup" });
    const count = h("span", { class: "tool-count" });
    const node = h("section", { class: "block", "aria-label": word, hidden: true },
      h("div", { class: "tools" }, h("h2", null, word), count),
      h("div", { class: "panel" }, h("table", { class: "hosts models", role: "table", "aria-label": word }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), rows)));
    return { node, rows, heads, count };
  }

  destroy() {
    clearTimeout(this.typing);
  }

  async refresh(signal) {
    kept.answer = await api.models({ text: kept.text || undefined, agent: this.agent || undefined, limit: this.limit }, signal);
    kept.agent = this.agent;
    this.#show(kept.answer);
  }

  #show(answer) {
    this.answer = answer;
    this.wait.remove();
    const known = new Set(LAYERS.map(([layer]) => layer));
    for (const [layer, part] of this.parts) {
      const rows = answer.models.filter((one) => (known.has(one.layer) ? one.layer : "") === layer);
      part.node.hidden = !rows.length;
      put(part.count, rows.length);
      COLUMNS.forEach(([, , needs], i) => {
        part.heads[i].hidden = Boolean(needs) && !answer.columns.includes(needs);
      });
      keyed(part.rows, rows, (one) => JSON.stringify([one.model, one.version, one.server, one.names]), (one) => new ModelRow(this, one));
    }
    put(this.count, answer.matching > answer.models.length ? `${answer.models.length} of ${answer.matching}` : answer.matching);
    put(this.span, answer.models.length ? `what the last ${Math.round(answer.span_s / 60)} minutes’ reports said` : "");
    this.more.hidden = answer.models.length >= answer.matching || this.limit >= MOST;
    this.nothing.hidden = answer.models.length > 0;
    redraw(this.nothing, [kept.text], () => (kept.text ? h("p", { class: "none-found" }, `No model matches “${kept.text}”.`)
      : emptyState("No model server has been found", "An agent looks each 30 s for model servers on its host, and reads those it knows. vedette models discover says on a host what it sees and why.")));
    const layers = new Set(answer.models.map((one) => one.layer));
    redraw(this.note, [layers.size, answer.full], () => [
      layers.size > 1 ? "A request that passes a gateway to an engine is counted by each: figures are never added over layers. " : "",
      answer.models.length ? "“Not told”: the server does not say, which is not none. *: a part of it is not told. " : "",
      answer.full.length ? `More models than are kept: ${answer.full.slice(0, 5).join(", ")}.` : ""]);
  }

  summaryTitle() {
    return "Models";
  }
}
