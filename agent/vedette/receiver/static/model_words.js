// Say figures of models the same way in the list and on a model's page.

import { h, icon } from "./dom.js";
import { digits, isNumber, measure, percent, quantity } from "./format.js";

export const LAYERS = [["gateway", "Gateways"], ["router", "Routers"], ["engine", "Engines"], ["device", "Devices"], ["", "Known by their logs alone, or telling nothing yet"]];
const SECONDS = measure("s");
const SENSE = { "at most": "≤\u2009", "at least": "≥\u2009", about: "" };
const OUTCOME = { server_error: "server errors", rejected: "refusals", timeout: "time-outs", failed: "failures" };

/** What a model is called: a server that names none is called by what its record names, or itself. */
export const modelName = (one) =>
  one.model || (one.names?.length === 1 ? one.names[0] : "") || (one.names?.length ? `${one.server}, all ${one.names.length} models` : "") || one.server || "unnamed server";

export const notTold = (why) => h("span", { class: "untold", title: why }, "not told");

/** A number per second: `0`, `0.42`, `1.3 k`. */
export const perSecond = (value) => (isNumber(value) ? (value < 1 ? digits(value, 2) : quantity(value, measure("{x}", "gauge"))) : "");

/** A quantile as far as buckets tell it: `≤ 100 ms` is all that is known of one in the lowest. */
export const seconds = (value, sense) => (isNumber(value) ? `${SENSE[sense] ?? ""}${quantity(value, SECONDS)}` : "–");

/** Median over 95th percentile; `why` says what a dash means. */
export function quantiles(found, why) {
  if (!found) return h("span", { class: "quiet", title: why }, "–");
  if (!isNumber(found.p50))
    return h("span", { class: "pair", title: `mean of ${digits(found.count, 4)} in the last minutes; this server tells no buckets` }, h("span", { class: "pair-high" }, seconds(found.mean)), h("span", { class: "sub" }, "mean alone"));
  return h("span", { class: "pair", title: `median and 95th percentile of ${digits(found.count, 4)} in the last minutes, in the server’s own buckets` },
    h("span", { class: "pair-high" }, seconds(found.p50, found.p50_sense)),
    h("span", { class: "sub" }, `p95 ${seconds(found.p95, found.p95_sense)}`));
}

/** The share that failed on the server's side, and what the server cannot tell. */
export function errorShare(figures) {
  const untold = (figures.untold ?? []).map((one) => OUTCOME[one] ?? one);
  const without = untold.length ? `without ${untold.join(", ")}: this server does not tell them` : "";
  if (figures.errors_told === "server") return notTold("This server counts failures for all of its models together");
  if (figures.errors_told !== "yes") return notTold("This server does not tell how requests fail: nothing is known, which is not none");
  if (!isNumber(figures.errors)) return h("span", { class: "quiet", title: without || "no requests" }, "–");
  const level = figures.errors >= 0.05 ? "critical" : figures.errors >= 0.01 ? "warning" : "";
  return h("span", { class: `errors ${level}`, title: without || "server errors, refusals, time-outs and failures" },
    level ? icon(level) : null, percent(figures.errors), untold.length ? h("span", { class: "partly", "aria-label": without }, "*") : null);
}

export function upState(one) {
  if (one.down) return h("span", { class: "missing" }, icon("warning"), one.up ? `${one.down} of ${one.up + one.down} down` : "down");
  if (one.silent && one.silent === one.hosts) return h("span", { class: "health silent" }, icon("silent"), "silent");
  return null;
}
