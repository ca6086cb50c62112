// The shell: route the address to a view, refresh it, say when the receiver cannot be reached.

import * as api from "./api.js";
import { append, h, icon, put, redraw, s } from "./dom.js";
import { clock } from "./format.js";
import { emptyState, tickTimes } from "./words.js";

const EVERY_MS = 5000;
const WAITS_MS = [5000, 10_000, 20_000, 30_000]; // after failures in a row

const ROUTES = [
  [/^\/?$/, () => import("./fleet.js"), "FleetView"],
  [/^\/host\/([^/]+)$/, () => import("./host.js"), "HostView"],
  [/^\/host\/([^/]+)\/logs$/, () => import("./logs.js"), "LogsView"],
  [/^\/host\/([^/]+)\/logs\/([^/]+)\/([^/]+)$/, () => import("./log_template.js"), "LogTemplateView"],
  [/^\/models$/, () => import("./models.js"), "ModelsView"],
  [/^\/model\/([^/]*)$/, () => import("./model.js"), "ModelView"],
  [/^\/incidents$/, () => import("./incident.js"), "IncidentsView"],
  [/^\/incident\/([^/]+)\/([^/]+)$/, () => import("./incident.js"), "IncidentView"],
];

const main = document.getElementById("main");
const outage = document.getElementById("outage");
const state = { view: null, path: null, leave: null, paused: false, failures: 0, good: 0, timer: 0, busy: false };

// ---------------------------------------------------------------- header

const live = h("button", { type: "button", class: "live", onclick: () => pause(!state.paused) });
const theme = h("button", {
  type: "button", class: "icon-button",
  onclick: () => {
    window.vedetteTheme.next();
    drawTheme();
  },
});

function drawTheme() {
  const choice = window.vedetteTheme.get();
  const word = { auto: "follows the system", light: "light", dark: "dark" }[choice];
  redraw(theme, choice, () => icon(choice));
  theme.setAttribute("aria-label", `Colours: ${word}. Change`);
  theme.title = `Colours: ${word}`;
}

function drawLive() {
  const kind = state.failures ? "lost" : state.paused ? "paused" : "on";
  redraw(live, [kind], () => [
    h("span", { class: `pulse ${kind}`, "aria-hidden": "true" }),
    h("span", { class: "live-word" }, { lost: "No connection", paused: "Paused", on: "Live" }[kind]),
    icon(state.paused ? "play" : "pause"),
  ]);
  live.setAttribute("aria-pressed", String(state.paused));
  live.title = state.paused ? "Go on refreshing (p)" : "Stop refreshing (p)";
}

// One beat for each answer: it shows that the page lives, and costs nothing in between.
function beat() {
  const dot = live.querySelector(".pulse");
  dot.classList.remove("beat");
  requestAnimationFrame(() => dot.classList.add("beat"));
}

const navigation = [["#/", "Fleet", /^\/(host\/.*)?$/], ["#/models", "Models", /^\/model/], ["#/incidents", "Incidents", /^\/incident/]].map(([href, word, match]) =>
  ({ node: h("a", { class: "nav", href }, word), match }));

function drawHeader() {
  append(document.getElementById("top"), [
    h("div", { class: "top-in" },
      h("a", { class: "brand", href: "#/", "aria-label": "Vedette, fleet" }, mark(), h("span", { class: "brand-word" }, "Vedette")),
      h("nav", { class: "navs", "aria-label": "Main" }, navigation.map(({ node }) => node)),
      h("span", { class: "grow" }), live, theme),
  ]);
  document.body.append(s("svg", { class: "defs", width: 0, height: 0, "aria-hidden": "true" },
    s("defs", null, s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      s("rect", { class: "hatch-ground", width: 6, height: 6 }), s("rect", { class: "hatch-line", width: 1.4, height: 6 })))));
}

function mark() {
  return s("svg", { class: "mark-logo", viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("rect", { class: "mark-ground", width: 32, height: 32, rx: 8 }),
    s("path", { class: "mark-v", d: "M7.5 13 16 25l8.5-12" }),
    s("circle", { class: "mark-light", cx: 16, cy: 9, r: 3.4 }));
}

// ---------------------------------------------------------------- routes

function parse() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { path: path || "/", params: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function route() {
  const { path, params } = parse();
  for (const { node, match } of navigation) {
    if (match.test(path)) node.setAttribute("aria-current", "page");
    else node.removeAttribute("aria-current");
  }
  if (state.view && state.path === path && state.view.navigate?.(params)) {
    refresh();
    return;
  }
  state.leave?.abort();
  state.view?.destroy?.();
  const first = state.path === null;
  Object.assign(state, { path, leave: new AbortController(), view: null });
  main.replaceChildren();
  window.scrollTo(0, 0);
  main.setAttribute("aria-busy", "true");
  for (const [pattern, load, name] of ROUTES) {
    const found = pattern.exec(path);
    if (!found) continue;
    const { leave } = state;
    const View = await load().then((module) => module[name], () => null);
    if (leave.signal.aborted) return; // gone on to another page meanwhile
    if (View) show(new View(found.slice(1).map(decoded), params), first);
    else lost();
    return;
  }
  main.removeAttribute("aria-busy");
  append(main, [emptyState("Nothing is here", "This address names no page of the fleet."), backLink()]);
}

function show(view, first) {
  state.view = view;
  view.mount(main);
  if (!first) main.querySelector("h1")?.focus({ preventScroll: true });
  refresh();
}

// A part of the page itself could not be fetched: the same as no receiver, but a reload is needed.
function lost() {
  main.replaceChildren();
  append(main, [
    emptyState("The receiver cannot be reached", "A part of this page could not be loaded."),
    h("p", { class: "center" }, h("button", { type: "button", class: "button", onclick: () => location.reload() }, "Load it again")),
  ]);
}

/** Fetch the other views while nothing else is to do, so that they open even in an outage. */
function prepare() {
  if (state.prepared) return;
  state.prepared = true;
  const later = window.requestIdleCallback ?? setTimeout;
  later(() => ROUTES.forEach(([, load]) => load().catch(() => {})));
}

const backLink = () => h("p", { class: "center" }, h("a", { class: "button", href: "#/" }, "Back to the fleet"));

// ---------------------------------------------------------------- refreshing

async function refresh() {
  clearTimeout(state.timer);
  const { view, leave } = state;
  if (!view || document.hidden) return;
  try {
    await view.refresh(leave.signal);
    if (view !== state.view) return;
    Object.assign(state, { failures: 0, good: Date.now() });
    beat();
    main.removeAttribute("aria-busy");
    prepare();
  } catch (error) {
    if (view !== state.view || error.name === "AbortError") return;
    if (error.status === 404) {
      missing(view);
      return;
    }
    state.failures += 1;
    state.reason = error.message;
    state.fault = !(error instanceof api.ApiError);
    if (state.fault) throw error; // ours: let the console show where
  } finally {
    if (view === state.view) {
      document.title = `${view.summaryTitle()} · Vedette`;
      drawOutage();
      drawLive();
      schedule();
    }
  }
}

function schedule() {
  clearTimeout(state.timer);
  if (state.paused || document.hidden || !state.view) return;
  const wait = state.failures ? WAITS_MS[Math.min(state.failures, WAITS_MS.length) - 1] : EVERY_MS;
  state.timer = setTimeout(refresh, wait);
}

function missing(view) {
  view.destroy?.();
  state.view = null;
  main.removeAttribute("aria-busy");
  main.replaceChildren();
  append(main, [
    emptyState("Not known here", "This receiver holds no such host, model, incident or line of logs. Old ones are forgotten when its store is full."), backLink(),
  ]);
}

function drawOutage() {
  outage.hidden = state.failures === 0;
  redraw(outage, [state.failures > 0, state.reason, state.good], () => {
    if (!state.failures) return [];
    const what = state.fault ? "This page stumbled over an answer" : "The receiver cannot be reached";
    const kept = state.good ? ` The page shows what was known at ${clock(state.good, true)}.` : "";
    return h("div", { class: "outage-in" }, icon("warning"),
      h("span", null, h("b", null, what), ` (${state.reason}).${kept} Trying again by itself.`),
      h("button", { type: "button", class: "button", onclick: refresh }, "Try now"));
  });
}

function pause(wanted) {
  state.paused = wanted;
  drawLive();
  put(document.getElementById("spoken"), wanted ? "Refreshing paused" : "Refreshing again");
  if (wanted) clearTimeout(state.timer);
  else refresh();
}

// ---------------------------------------------------------------- start

const typing = (target) => target.closest?.("input,select,textarea,[contenteditable]");

addEventListener("hashchange", route);
addEventListener("vedette:refresh", refresh);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(state.timer);
  else if (!state.paused) refresh();
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target.id === "find") {
    event.target.value = "";
    event.target.dispatchEvent(new Event("input"));
    event.target.blur();
  }
  if (typing(event.target)) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("find")?.focus();
  } else if (event.key === "p") {
    pause(!state.paused);
  }
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address belongs to the router
  main.focus();
});
setInterval(() => {
  if (!document.hidden) tickTimes();
}, 1000);

drawHeader();
drawTheme();
drawLive();
route();
