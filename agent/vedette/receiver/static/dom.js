// Build the page without ever parsing a string as markup: every name a host sends is hostile input.

const SVG = "http://www.w3.org/2000/svg";
const MAX_TEXT = 600;
// Control characters, bidirectional overrides and invisible format characters could make a name
// read as something else; they are shown as what they are.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/g;

/** Return text that is safe to read: bounded, nothing invisible. */
export function clean(value) {
  let text = String(value ?? "");
  if (text.length > MAX_TEXT) text = `${text.slice(0, MAX_TEXT)}…`;
  return text.replace(
    UNSEEN,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const SAID = new Set(["title", "aria-label"]);

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.setAttribute("class", value);
    else if (key === "css")
      for (const [name, css] of Object.entries(value)) node.style.setProperty(name, css);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "href") {
      if (!String(value).startsWith("#")) throw new Error(`link leaves the page: ${value}`);
      node.setAttribute("href", value);
    } else node.setAttribute(key, value === true ? "" : SAID.has(key) ? clean(value) : String(value));
  }
  append(node, children);
  return node;
}

export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : clean(child));
  }
}

/** Make an HTML element. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Make an SVG element. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** Set an element's text when it differs, so that an unchanged page costs no layout. */
export function put(node, value) {
  const text = clean(value);
  if (node.textContent !== text) node.textContent = text;
}

/** Replace an element's children when `signature` differs from the last one; focus stays. */
export function redraw(node, signature, make) {
  const text = typeof signature === "string" ? signature : JSON.stringify(signature);
  if (node.drawnFor === text) return false;
  node.drawnFor = text;
  const place = node.contains(document.activeElement)
    ? [...node.querySelectorAll("a,button")].indexOf(document.activeElement)
    : -1;
  node.replaceChildren();
  append(node, [make()]);
  if (place >= 0) node.querySelectorAll("a,button")[place]?.focus({ preventScroll: true });
  return true;
}

/** Keep one child per item, in order; rows that did not change are left alone. */
export function keyed(parent, items, keyOf, create) {
  const rows = (parent.rowsByKey ??= new Map());
  const wanted = new Set();
  let at = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    if (wanted.has(key)) continue;
    wanted.add(key);
    let row = rows.get(key);
    if (!row) rows.set(key, (row = create(item)));
    row.update(item);
    if (row.node === at) at = at.nextSibling;
    else parent.insertBefore(row.node, at);
  }
  for (const [key, row] of rows) {
    if (!wanted.has(key)) {
      row.node.remove();
      rows.delete(key);
    }
  }
}

const PATHS = {
  critical: ["M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2z", "M8 4.4v4.4M8 11.3v.2"],
  warning: ["M8 1.4 15.2 14H.8z", "M8 6v3.6M8 11.8v.2"],
  info: ["M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z", "M8 7.4v4M8 4.6v.2"],
  ok: ["M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z", "M4.9 8.2l2.2 2.2 4-4.6"],
};
const STROKES = {
  degraded: "M8 1.8 14.2 8 8 14.2 1.8 8zM8 5.4v3.2M8 10.6v.1",
  silent: "M8 1.9a6.1 6.1 0 1 1 0 12.2A6.1 6.1 0 0 1 8 1.9zM3.8 12.2l8.4-8.4",
  stopped: "M4 4h8v8H4z",
  search: "M7 2.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6zM10.6 10.6 14 14",
  pause: "M5.4 3.2v9.6M10.6 3.2v9.6",
  play: "M5 3l8 5-8 5z",
  auto: "M2 3h12v8H2zM5.5 14h5",
  light: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM8 1.2v1.2M8 13.6v1.2M1.2 8h1.2M13.6 8h1.2M3.2 3.2l.9.9M11.9 11.9l.9.9M3.2 12.8l.9-.9M11.9 4.1l.9-.9",
  dark: "M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7z",
  next: "M6 3.5 10.5 8 6 12.5",
  back: "M10 3.5 5.5 8 10 12.5",
  check: "M3 8.4l3.3 3.3L13 4.6",
  close: "M4 4l8 8M12 4l-8 8",
  chart: "M2 2.5v11h12M5 10.2l2.6-3.4 2.4 2L13.6 4",
  lines: "M2.5 4h11M2.5 8h11M2.5 12h7",
  clock: "M8 1.9a6.1 6.1 0 1 1 0 12.2A6.1 6.1 0 0 1 8 1.9zM8 4.8V8l2.2 1.6",
};

/** Draw a small icon; decoration only, the word beside it is what counts. */
export function icon(name, extra = "") {
  const solid = PATHS[name];
  return s(
    "svg",
    { class: `icon ${name} ${extra}`, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    solid
      ? [s("path", { class: "icon-body", d: solid[0] }), s("path", { class: "icon-mark", d: solid[1] })]
      : s("path", { class: "icon-line", d: STROKES[name] ?? "" }),
  );
}
