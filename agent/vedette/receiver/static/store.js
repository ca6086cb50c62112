// Keep the points of one host's metrics; ask the receiver only for what is not here yet.

import * as api from "./api.js";
import { fromRows, merge } from "./points.js";

const OVERLAP_MS = 190_000; // windows that may still arrive late while a host is up to date
const POINTS = 4000; // a day of windows and the shorter ones after restarts
const ANEW_MS = 300_000; // older ones come from a backlog: read the whole range again now and then

export class Store {
  #metrics = new Map();

  constructor(agent, signal) {
    this.agent = agent;
    this.signal = signal;
  }

  /** What is known of a metric: `{unit, kind, series: Map(key -> {key, attributes, points})}`. */
  get(name) {
    return this.#metrics.get(name) ?? null;
  }

  /** Bring a metric up to date for `from..to`; `anew` reads all of it again, `keys` (null: all) bound the series. */
  async load(name, from, to, anew = false, keys = null) {
    const known = this.#metrics.get(name);
    const whole = anew || !known || known.keys !== keys || known.from > from || known.to < from || Date.now() - known.whole > ANEW_MS;
    const start = whole ? from : Math.max(from, known.to - OVERLAP_MS);
    const answer = await api.metrics(this.agent, { name, from_ms: Math.floor(start), to_ms: Math.ceil(to), limit: POINTS, key: keys ?? [] }, this.signal);
    const metric = {
      unit: answer.unit ?? "",
      kind: answer.kind ?? "gauge",
      series: whole ? new Map() : known.series,
      from: whole ? from : known.from,
      to: whole ? from : known.to,
      whole: whole ? Date.now() : known.whole,
      keys,
    };
    for (const { key, attributes, points, tails } of answer.series ?? []) {
      const newer = fromRows(points, tails);
      const older = metric.series.get(key);
      metric.series.set(key, {
        key,
        attributes: attributes ?? {},
        points: older ? merge(older.points, newer, from) : newer,
      });
      if (newer.length) metric.to = Math.max(metric.to, newer[newer.length - 1].t);
    }
    metric.from = Math.max(metric.from, whole ? from : Math.min(known.from, from));
    this.#metrics.set(name, metric);
    return metric;
  }
}
