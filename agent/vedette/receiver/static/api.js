// Ask the receiver: every request has a deadline, and few run at once.

const DEADLINE_MS = 12_000;
const AT_ONCE = 4;
const ROOT = "api/v1/";

let running = 0;
const waiting = [];
const nowPast = { server: 0, at: 0 };

/** An answer that is not a success; `status` is 0 when there was none at all. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The receiver's clock in ms: browsers' clocks are wrong more often than servers'. */
export function serverNow() {
  return nowPast.at ? nowPast.server + (performance.now() - nowPast.at) : Date.now();
}

async function slot(signal) {
  if (running >= AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  if (signal?.aborted) {
    waiting.shift()?.();
    throw new DOMException("left", "AbortError");
  }
  running += 1;
}

async function get(path, query, signal) {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {}))
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined && one !== null) search.append(key, one);
  const text = search.toString();
  await slot(signal);
  try {
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    const both = signal ? AbortSignal.any([signal, deadline]) : deadline;
    const answer = await fetch(ROOT + path + (text ? `?${text}` : ""), {
      signal: both,
      headers: { accept: "application/json" },
    });
    if (!answer.ok) throw new ApiError(`the receiver answered ${answer.status}`, answer.status);
    const data = await answer.json();
    if (typeof data?.now_ms === "number")
      Object.assign(nowPast, { server: data.now_ms, at: performance.now() });
    return data;
  } catch (error) {
    if (error instanceof ApiError || (error.name === "AbortError" && signal?.aborted)) throw error;
    if (error.name === "TimeoutError" || error.name === "AbortError")
      throw new ApiError(`no answer within ${DEADLINE_MS / 1000} s`, 0);
    throw new ApiError(error instanceof SyntaxError ? "the answer was not JSON" : "no connection", 0);
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

const id = encodeURIComponent;

export const hosts = (signal) => get("hosts", {}, signal);
export const host = (agent, signal) => get(`hosts/${id(agent)}`, {}, signal);
export const series = (agent, signal) => get(`hosts/${id(agent)}/series`, {}, signal);
export const inventory = (agent, signal) => get(`hosts/${id(agent)}/inventory`, {}, signal);
export const metrics = (agent, query, signal) => get(`hosts/${id(agent)}/metrics`, query, signal);
export const incidents = (query, signal) => get("incidents", query, signal);
export const incident = (agent, key, signal) => get(`incidents/${id(agent)}/${id(key)}`, {}, signal);
export const logs = (agent, query, signal) => get(`hosts/${id(agent)}/logs`, query, signal);
export const logTemplate = (agent, source, uid, signal) => get(`hosts/${id(agent)}/logs/template`, { source, uid }, signal);
export const incidentLogs = (agent, key, signal) => get(`incidents/${id(agent)}/${id(key)}/logs`, {}, signal);

export const models = (query, signal) => get("models", query, signal);
export const model = (name, query, signal) => get("model", { name, ...query }, signal);
export const incidentEvents = (agent, key, signal) => get(`incidents/${id(agent)}/${id(key)}/events`, {}, signal);

export const modelLink = (name, query) => link(`#/model/${id(name)}`, query);
export const hostLink = (agent, query) => link(`#/host/${id(agent)}`, query);
export const incidentLink = (agent, key) => `#/incident/${id(agent)}/${id(key)}`;
export const logsLink = (agent, query) => link(`#/host/${id(agent)}/logs`, query);
export const logLink = (agent, source, uid) => `#/host/${id(agent)}/logs/${id(source)}/${id(uid)}`;
export const link = (path, query) => {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {}))
    if (value !== undefined && value !== null && value !== "") search.set(key, value);
  const text = search.toString();
  return text ? `${path}?${text}` : path;
};
