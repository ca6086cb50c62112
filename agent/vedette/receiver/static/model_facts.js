// What the record of a model server says: known facts in words, others as they are named.

import { clean, h } from "./dom.js";
import { duration, exact, isNumber, moment } from "./format.js";
import { fact } from "./inventory.js";

const PREFIX = /^vedette\.model\./;
const MANY = 12, DEEP = 3;
/** Told in the heading, or beside the figures. */
const SHOWN = new Set(["vedette.model.server", "vedette.model.endpoint", "vedette.model.since", "vedette.model.blind", "vedette.window.start", "vedette.window.end"]);
const WORDS = { names: "Models", evidence: "Told by", missing: "Missing signals", release: "Release", version: "Version" };

/** One server as a panel; every name and value in it is a stranger's. */
export function serverFacts(place, now) {
  const { facts, title, since_ms: since, time_ms: told, blind } = place.facts;
  const rows = Object.entries(facts).filter(([key]) => !SHOWN.has(key));
  return h("div", { class: "panel barlist server-facts" },
    h("h3", { class: "isolate" }, `${place.host} · ${place.endpoint}`),
    h("p", { class: "sub isolate" }, title),
    h("div", { class: "item" }, h("dl", null,
      since ? row("Answers since", h("time", { title: exact(since) }, `${moment(since, now, false)}, ${duration(now - since)}`)) : null,
      rows.map(([key, value]) => row(word(key), shown(value, key))))),
    blind.length ? h("details", { class: "fold", "aria-label": "What cannot be known" }, h("summary", null, h("span", { class: "fold-word" }, `Cannot be known of it: ${blind.length}`)), h("ul", { class: "told" }, blind.slice(0, 20).map((one) => h("li", null, h("span", { class: "isolate" }, one))))) : null,
    h("p", { class: "sub" }, "Told by the host ", h("time", { title: exact(told) }, moment(told, now, false)), "."));
}

const row = (name, ...value) => h("div", null, h("dt", null, name), h("dd", { class: "isolate" }, value));

const word = (key) => {
  const own = String(key).replace(PREFIX, "");
  if (WORDS[own]) return WORDS[own];
  const text = own.replace(/[._]+/g, " ").trim();
  return clean(text.charAt(0).toUpperCase() + text.slice(1)).slice(0, 80);
};

/** A value of any shape: lists on lines, mappings as pairs, what is too much counted. */
function shown(value, key, depth = 0) {
  if (value === null || value === undefined) return "not told";
  if (Array.isArray(value)) {
    if (!value.length) return "none";
    const plain = value.every((one) => typeof one !== "object" || one === null);
    const some = value.slice(0, MANY).map((one) => shown(one, key, depth + 1));
    if (value.length > MANY) some.push(`and ${value.length - MANY} more`);
    if (plain && some.join("").length < 80) return some.join(", ");
    return h("ul", { class: "values" }, some.map((one) => h("li", null, one)));
  }
  if (typeof value === "object") {
    if (depth >= DEEP) return "…";
    return Object.entries(value).slice(0, MANY * 2).map(([name, one], i) => [i ? " · " : "", h("span", { class: "sub" }, `${name.replace(/[._]+/g, " ")} `), shown(one, name, depth + 1)]);
  }
  if (isNumber(value) || typeof value === "boolean") return fact(String(key).replace(PREFIX, ""), value)[1];
  return String(value);
}
