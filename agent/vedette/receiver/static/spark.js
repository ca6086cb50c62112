// Draw a line without axes for a list.

import { s } from "./dom.js";
import { isNumber } from "./format.js";
import { areaPath, linePath, segments } from "./points.js";

/** A small line: `points` are `[t, v]`, `max` fixes the top. */
export function sparkline(points, { width = 96, height = 24, max = null, from, to } = {}) {
  const good = (points ?? []).filter(([t, v]) => isNumber(t) && isNumber(v)).map(([t, v]) => ({ t, v, lo: v, hi: v }));
  const svg = s("svg", {
    class: "spark c0", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", preserveAspectRatio: "none",
  });
  if (good.length < 2) return svg;
  const begin = from ?? good[0].t, end = to ?? good[good.length - 1].t;
  const top = max ?? Math.max(...good.map((p) => p.v), 1e-9);
  const x = (t) => ((t - begin) / (end - begin || 1)) * width;
  const y = (p) => height - 1.5 - (Math.min(p.v, top) / top) * (height - 3);
  const parts = segments(good);
  svg.append(
    s("path", { class: "layer", d: areaPath(parts, x, y, () => height) }),
    s("path", { class: "line", d: linePath(parts, x, y) }));
  return svg;
}
