// What a host is made of: items by kind with their facts in words, and what changed.

import { h, redraw } from "./dom.js";
import { bytes, digits, duration, exact, isNumber, measure, moment, plural, quantity, whole } from "./format.js";
import { since } from "./words.js";
import { serverNow } from "./api.js";

const NEWEST = 8; // changes shown before the rest
const MANY = 12; // items of one kind shown before the rest
const natural = new Intl.Collator("en", { numeric: true });

/** Kinds in reading order; one that is not named here comes after them under its own name. */
const KINDS = new Map(Object.entries({
  machine: "Machine", virtualization: "Virtualization", cloud: "Cloud", os: "Operating system", kernel: "Kernel", cpu: "Processors",
  memory: "Memory", gpu: "Accelerators", disk: "Disks", filesystem: "Filesystems", interface: "Network interfaces",
  container: "Containers", service: "Listening services",
}));

/** The inventory of one host; nothing is shown while there is none. */
export class Inventory {
  all = new Set(); // lists shown whole

  constructor() {
    this.sum = h("span", { class: "sub isolate" });
    this.body = h("div", { class: "inventory" });
    this.node = h("section", { class: "section", id: "section-inventory", "aria-label": "Inventory", hidden: true },
      h("details", { class: "fold", "aria-label": "Inventory, details" }, h("summary", null, h("h2", { tabindex: "-1" }, "Inventory"), this.sum), this.body));
  }

  get empty() {
    return !this.answer?.items?.length && !this.answer?.changes?.length;
  }

  /** Take an answer of the receiver. */
  set(answer) {
    this.answer = answer;
    this.node.hidden = this.empty;
    this.#draw();
  }

  #draw() {
    const { items = [], changes = [], omitted = 0, time_ms: told } = this.answer;
    const signature = [told, this.answer.digest, items.length, changes[0]?.time_ms, changes.length, [...this.all]];
    redraw(this.sum, [...signature], () => [plural(items.length, "item"),
      changes.length ? [", changed ", since(changes[0].time_ms), `: ${changes[0].text}`] : ""]);
    redraw(this.body, signature, () => [
      changes.length ? this.#changes(changes) : null,
      [...byKind(items)].map(([kind, some]) => this.#kind(kind, some)),
      h("p", { class: "sub" }, "Told by the host ", h("time", { title: exact(told) }, moment(told, serverNow(), false)),
        omitted > 0 ? `; ${plural(omitted, "item")} more than are kept` : "", "."),
    ]);
  }

  #changes(changes) {
    const now = serverNow();
    return h("div", { class: "panel barlist wide" }, h("h3", null, "Changed"),
      h("ul", { class: "told" }, this.#some("changed", changes, NEWEST, (one) => h("li", null,
        h("time", { class: "sub", title: exact(one.time_ms) }, moment(one.time_ms, now, false)), h("span", { class: "isolate" }, one.text)))));
  }

  #kind(kind, items) {
    return h("div", { class: "panel barlist" }, h("h3", { class: "isolate" }, KINDS.get(kind) ?? plain(kind)),
      h("ul", { class: "items" }, this.#some(`kind ${kind}`, items, MANY, (one) => h("li", { class: "item" },
        h("b", { class: "isolate" }, one.name),
        h("dl", null, Object.entries(one.facts ?? {}).filter(([, value]) => value !== "").map(([key, value]) => {
          const [word, text] = fact(key, value);
          return h("div", null, h("dt", null, word), h("dd", { class: "isolate" }, text));
        }))))));
  }

  #some(name, list, few, make) {
    const open = this.all.has(name) || list.length <= few + 1;
    const rows = (open ? list : list.slice(0, few)).map(make);
    if (!open) rows.push(h("li", null, h("button", { type: "button", class: "legend-more", onclick: () => {
      this.all.add(name);
      this.#draw();
    } }, `${list.length - few} more`)));
    return rows;
  }
}

function byKind(items) {
  const order = [...KINDS.keys()];
  const place = (kind) => (KINDS.has(kind) ? order.indexOf(kind) : order.length);
  const sorted = [...items].sort((a, b) => place(a.kind) - place(b.kind) || natural.compare(a.kind, b.kind) || natural.compare(a.name, b.name));
  const found = new Map();
  for (const item of sorted) found.set(item.kind, [...(found.get(item.kind) ?? []), item]);
  return found;
}

const plain = (key) => {
  const text = String(key).replace(/[_.]+/g, " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
};

const SHORT = { mtu: "MTU", numa_nodes: "NUMA nodes", swap_total: "Swap", local_only: "Only from this host", logical: "Logical CPUs" };
const UNITS = [
  [/^(.*_)?(size|total|capacity|bytes|memory)$/, bytes],
  [/^(.*)_mbit$/, (value) => (value < 1000 ? `${digits(value)}\u00a0Mbit/s` : `${digits(value / 1000)}\u00a0Gbit/s`)],
  [/^(.*)_hz$/, (value) => quantity(value, measure("Hz"))],
  [/^(.*)_seconds$/, (value) => duration(value * 1000)],
];

/** One fact as (word, text): amounts with their unit, yes and no. */
export function fact(key, value) {
  const word = SHORT[key] ?? plain(String(key).replace(/_(mbit|hz|seconds|bytes)$/, ""));
  if (typeof value === "boolean") return [word, value ? "yes" : "no"];
  if (!isNumber(value)) return [word, value];
  const unit = UNITS.find(([pattern]) => pattern.test(key));
  if (unit) return [word, unit[1](value)];
  return [word, Number.isInteger(value) ? whole(value) : String(value)];
}
