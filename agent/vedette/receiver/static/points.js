// Work on the points of a series: gaps, decimation, look-up, stacking. Pure.
//
// A point is {t, v, lo, hi, mean}: the window that ended at t (ms), its median, least, greatest and
// mean value; v is null when the window holds no reading.

const USUAL_WINDOW_MS = 60_000;
const SLACK = 1.6; // a window that is a little late is not a gap

/** Read the receiver's `[end_ms, p50, min, max, mean, count]` rows, oldest first; `tails` are p95s. */
export function fromRows(rows, tails = []) {
  const points = [];
  for (const [i, [t, p50, lo, most, mean]] of (rows ?? []).entries()) {
    if (!Number.isFinite(t)) continue;
    const hi = Number.isFinite(most) ? most : tails[i];
    const v = Number.isFinite(p50) ? p50 : Number.isFinite(mean) ? mean : null;
    points.push({
      t,
      v,
      lo: Number.isFinite(lo) ? lo : v,
      hi: Number.isFinite(hi) ? hi : v,
      mean: Number.isFinite(mean) ? mean : v,
    });
  }
  return points.sort((a, b) => a.t - b.t);
}

/** Merge newer points into older ones; the same window again replaces itself. */
export function merge(older, newer, from) {
  if (!newer.length) return older.length && older[0].t < from ? older.filter((p) => p.t >= from) : older;
  const first = newer[0].t;
  const known = new Set(newer.map((p) => p.t));
  const kept = older.filter((p) => p.t >= from && (p.t < first || !known.has(p.t)));
  const all = kept.concat(newer);
  return kept.length && kept[kept.length - 1].t > first ? all.sort((a, b) => a.t - b.t) : all;
}

/** The longest distance before point `i` that still counts as connected. */
export function reach(points, i) {
  const before = i >= 2 ? points[i - 1].t - points[i - 2].t : 0;
  const after = i + 1 < points.length ? points[i + 1].t - points[i].t : 0;
  // The shorter neighbour is the rhythm (an outage makes one long), and as windows grow from 10 s
  // to 60 s after a start, a usual window is never a gap.
  return SLACK * Math.max(Math.min(before || after, after || before), USUAL_WINDOW_MS);
}

/** Cut a series where windows are missing: arrays of neighbouring points. */
export function segments(points) {
  const found = [];
  let open = null;
  for (let i = 0; i < points.length; i += 1) {
    if (points[i].v === null) {
      open = null;
    } else if (open && points[i].t - points[i - 1].t <= reach(points, i)) {
      open.push(points[i]);
    } else {
      found.push((open = [points[i]]));
    }
  }
  return found;
}

/** Index of the first point at or after `t`. */
export function lowerBound(points, t) {
  let low = 0, high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].t < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The window that contains `t`, or null inside a gap. */
export function at(points, t) {
  const i = lowerBound(points, t);
  const near = i < points.length ? points[i] : null;
  if (near && near.v !== null) {
    const step = i > 0 ? near.t - points[i - 1].t : USUAL_WINDOW_MS;
    if (near.t - t <= (step <= reach(points, i) ? step : USUAL_WINDOW_MS)) return near;
  }
  const last = i > 0 ? points[i - 1] : null;
  return last && last.v !== null && t - last.t <= USUAL_WINDOW_MS / 2 ? last : null;
}

/** At most one point per `width` ms, on a fixed grid so that a moving view does not flicker. */
export function decimate(points, width) {
  if (points.length < 3 || (points[points.length - 1].t - points[0].t) / points.length >= width) return points;
  const thin = [];
  let i = 0;
  while (i < points.length) {
    const bucket = Math.floor(points[i].t / width);
    let j = i, lo = Infinity, hi = -Infinity, sum = 0;
    while (j < points.length && Math.floor(points[j].t / width) === bucket) {
      lo = Math.min(lo, points[j].lo);
      hi = Math.max(hi, points[j].hi);
      sum += points[j].mean;
      j += 1;
    }
    const middles = points.slice(i, j).map((p) => p.v).sort((a, b) => a - b);
    thin.push({ t: points[j - 1].t, v: middles[middles.length >> 1], lo, hi, mean: sum / (j - i) });
    i = j;
  }
  return thin;
}

/** Stack means on each other (medians do not add up): each point gains `base` and `top`. */
export function stack(layers) {
  const floor = new Map();
  return layers.map((points) =>
    points.map((p) => {
      const base = floor.get(p.t) ?? 0;
      const top = base + (p.v === null ? 0 : Math.max(0, p.mean));
      floor.set(p.t, top);
      return { ...p, base, top };
    }),
  );
}

/** Stretches between `from` and `to` in which there was data before but no window now. */
export function gaps(points, from, to) {
  const parts = segments(points);
  const found = [];
  for (let i = 1; i < parts.length; i += 1) {
    const begin = parts[i - 1][parts[i - 1].length - 1].t, end = parts[i][0].t;
    if (end > from && begin < to) found.push([Math.max(begin, from), Math.min(end, to)]);
  }
  const last = parts.length ? parts[parts.length - 1] : null;
  const edge = last ? last[last.length - 1].t : to;
  if (to - edge > 2.5 * USUAL_WINDOW_MS) found.push([Math.max(edge, from), to]);
  return found;
}

/** One decimal is finer than a pixel. */
export const round = (n) => Math.round(n * 10) / 10;

/** An SVG path through the points of each part; `y(point)` and `x(t)` are pixels. */
export function linePath(parts, x, y) {
  let d = "";
  for (const part of parts) {
    d += `M${round(x(part[0].t))} ${round(y(part[0]))}`;
    if (part.length === 1) d += "h.01"; // a lone window is a dot
    for (let i = 1; i < part.length; i += 1) d += `L${round(x(part[i].t))} ${round(y(part[i]))}`;
  }
  return d;
}

/** An SVG path around the area between two edges of each part. */
export function areaPath(parts, x, upper, lower) {
  let d = "";
  for (const part of parts) {
    if (part.length < 2) continue;
    d += `M${part.map((p) => `${round(x(p.t))} ${round(upper(p))}`).join("L")}`;
    for (let i = part.length - 1; i >= 0; i -= 1) d += `L${round(x(part[i].t))} ${round(lower(part[i]))}`;
    d += "Z";
  }
  return d;
}
