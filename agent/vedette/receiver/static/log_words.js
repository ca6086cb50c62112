// Say severities and templates of logs the same way in every view.

import { h, icon } from "./dom.js";

const GRADES = [[21, "Fatal"], [17, "Error"], [13, "Warning"], [9, "Info"], [5, "Debug"], [1, "Trace"]];
// What the agent writes where lines differ; anything else in angle brackets is the line's own.
const SLOT = /(<(?:\*|time|uuid|url|email|mac|ip|host|hex|path|duration|num|id|word)>)/;

/** The colour of a severity number: that of an incident as grave. */
export const gradeClass = (severity) => (severity >= 17 ? "critical" : severity >= 13 ? "warning" : severity >= 1 && severity < 9 ? "debug" : "info");

export const gradeWord = (severity) => GRADES.find(([least]) => severity >= least)?.[1] ?? "Unknown";

export function gradeBadge(severity) {
  const kind = gradeClass(severity);
  return h("span", { class: `badge ${kind}` }, icon(kind === "debug" ? "silent" : kind), gradeWord(severity));
}

/** The text of a template, its placeholders marked. */
export function logText(text) {
  return String(text ?? "").split(SLOT).map((part, i) => (i % 2 ? h("span", { class: "slot" }, part) : part));
}

/** Lines of an example as they were, what is invisible in them as what it is. */
export function exampleLines(text) {
  return String(text ?? "").split(/\r?\n/).map((line) => [line.replaceAll("\t", "    "), h("br")]);
}

/** A file by its name, with the place before it apart. */
export function sourceParts(source) {
  const at = String(source).lastIndexOf("/");
  return at > 0 ? [source.slice(0, at + 1), source.slice(at + 1)] : ["", String(source)];
}
