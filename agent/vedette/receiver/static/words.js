// Say states, severities and incidents the same way in every view.

import { clean, h, icon } from "./dom.js";
import { ago, bytes, duration, exact, isNumber, moment, percent, plural } from "./format.js";
import { hostLink, incidentLink, serverNow } from "./api.js";

export const SEVERITIES = ["critical", "warning", "info"];
export const HEALTH = { ok: "Healthy", degraded: "Degraded", silent: "Silent", stopped: "Stopped" };
const SEVERITY = { critical: "Critical", warning: "Warning", info: "Info" };
const RANK = { critical: 0, warning: 1, info: 2 };

export const severityOf = (value) => (value in RANK ? value : "info");

/** The health of a host; one that said goodbye is stopped, not silent. */
export function healthOf(host) {
  if (host.health !== "silent" && host.reasons?.includes("stopped")) return "stopped";
  return host.health in HEALTH ? host.health : "degraded";
}

export const severityRank = (value) => RANK[severityOf(value)];

/** Worst first, then the newest. */
export const worstFirst = (a, b) =>
  severityRank(a.severity) - severityRank(b.severity) || (b.opened_ms ?? 0) - (a.opened_ms ?? 0);

export function severityBadge(value, word = true) {
  const severity = severityOf(value);
  return h("span", { class: `badge ${severity}` }, icon(severity),
    h("span", { class: word ? "" : "unseen" }, SEVERITY[severity]));
}

export function healthBadge(health, word = true) {
  return h("span", { class: `health ${health}` }, icon(health),
    h("span", { class: word ? "" : "unseen" }, HEALTH[health]));
}

/** A time that keeps counting: `4 s ago`, brought up to date by `tickTimes`. */
export function since(ms, extra = "") {
  const node = h("time", { class: `ago ${extra}`, title: exact(ms) });
  node.ms = ms;
  node.textContent = ago(ms, serverNow());
  return node;
}

export function setSince(node, ms) {
  if (node.ms === ms) return;
  node.ms = ms;
  node.title = exact(ms);
  node.textContent = ago(ms, serverNow());
}

export function tickTimes() {
  const now = serverNow();
  for (const node of document.querySelectorAll("time.ago")) {
    const text = ago(node.ms, now);
    if (node.textContent !== text) node.textContent = text;
  }
}

/** A small bar with its number; `share` 0 to 1 or null. */
export function meter(share, label) {
  const known = isNumber(share);
  const filled = Math.min(1, Math.max(0, known ? share : 0));
  const level = filled >= 0.95 ? " full" : filled >= 0.85 ? " high" : "";
  return h("span", { class: `meter${level}${known ? "" : " unknown"}`, title: label },
    h("span", { class: "meter-value" }, known ? percent(share) : "–"),
    h("span", { class: "meter-track", "aria-hidden": "true" },
      h("span", { class: "meter-fill", css: { width: `${filled * 100}%` } })));
}

/** Open incidents of a host as counts, or a quiet dash. */
export function openCounts(open) {
  const counts = SEVERITIES.filter((severity) => open?.[severity] > 0);
  if (!counts.length) return h("span", { class: "quiet" }, "none");
  return h("span", { class: "counts" }, counts.map((severity) =>
    h("span", { class: `count ${severity}`, title: `${open[severity]} ${severity}` },
      icon(severity), String(open[severity]), h("span", { class: "unseen" }, ` ${severity}`))));
}

/** Whether everything a host has sent has arrived. */
export function completeness(host) {
  if (!isNumber(host.missing) || !isNumber(host.received) || host.received === 0)
    return h("span", { class: "quiet" }, "nothing yet");
  if (host.missing === 0) return h("span", { class: "complete" }, icon("check"), "complete");
  return h("span", { class: "missing" }, icon("warning"), `${host.missing}\u00a0missing`);
}

/** The first suspect in words. */
export function suspectText(incident) {
  const first = incident.suspects?.[0];
  if (!first) return "";
  const named = first.kind === "process" && first.id ? `${first.name} (${first.id})` : first.name;
  return first.text ? `${named}, ${first.text}` : named;
}

/** A sentence of the agent; names it quotes in backticks are set as code. */
export function sentence(text) {
  const parts = String(text ?? "").slice(0, 600).split("`");
  if (parts.length % 2 === 0) return [clean(text)]; // a name with a backtick of its own
  return parts.map((part, i) => (i % 2 ? h("code", { class: "isolate" }, part) : clean(part)));
}

/** How long an incident has lasted or did last. */
export function lasted(incident, now) {
  const begin = incident.onset_ms || incident.opened_ms;
  return duration((incident.resolved_ms ?? now) - begin);
}

/** An incident as one line a person understands, linked. */
export function incidentRow(incident, { host = true, state = true } = {}) {
  const severity = severityOf(incident.severity);
  const open = incident.state !== "resolved";
  const now = serverNow();
  const suspect = suspectText(incident);
  return h("li", { class: `incident ${severity}${open ? "" : " resolved"}` },
    severityBadge(severity),
    h("div", { class: "incident-words" },
      h("a", { class: "incident-title isolate", href: incidentLink(incident.agent, incident.id) },
        sentence(incident.title || `${incident.resource} incident`)),
      h("p", { class: "incident-facts" },
        host ? h("a", { class: "isolate host-link", href: hostLink(incident.agent) }, incident.host || incident.agent) : null,
        h("span", { class: "isolate" }, incident.resource),
        suspect ? h("span", null, "suspect ", h("b", { class: "isolate" }, suspect)) : null,
        open ? null : h("span", null, `lasted ${lasted(incident, now)}`))),
    h("span", { class: "incident-when" },
      state ? h("span", { class: `state ${open ? "open" : "resolved"}` }, open ? "Open" : "Resolved") : null,
      open
        ? since(incident.onset_ms || incident.opened_ms)
        : h("time", { title: exact(incident.opened_ms) }, moment(incident.opened_ms, now, false))));
}

export const hostName = (host) => clean(host.host || host.agent || "unnamed host");
export const capacity = (host) =>
  [host.cpus ? plural(host.cpus, "CPU") : "", host.memory_bytes ? bytes(host.memory_bytes) : ""].filter(Boolean);

/** The operator's labels, the first few. */
export function labelChips(labels, limit = Infinity) {
  const all = Object.entries(labels ?? {});
  const chips = all.slice(0, limit).map(([key, value]) =>
    h("span", { class: "chip", title: `${key}=${value}` }, h("span", { class: "chip-key" }, key), h("bdi", null, value)));
  if (all.length > limit) chips.push(h("span", { class: "chip more", title: all.slice(limit).map(([k, v]) => `${k}=${v}`).join(", ") }, `+${all.length - limit}`));
  return chips;
}

export function emptyState(title, text, ...more) {
  return h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), more);
}

export function command(...lines) {
  return h("pre", { class: "command" }, h("code", null, lines.map((line) => [line, h("br")])));
}

export function skeleton(rows, kind = "row") {
  return h("div", { class: "skeletons", "aria-hidden": "true" },
    Array.from({ length: rows }, () => h("div", { class: `skeleton ${kind}` })));
}
