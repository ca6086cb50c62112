// Which metrics of a host are shown where. What is not named here appears under "Everything else".

import { plural } from "./format.js";

const by = (...keys) => (attributes) => keys.map((key) => attributes[key]).filter(Boolean).join(" ");
const device = by("system.device", "disk.io.direction");
const nic = by("network.interface.name", "network.io.direction");
const process = by("process.executable.name");

/**
 * Sections in reading order. A chart: title, metrics (names, drawn together), label(attributes, name),
 * skip(attributes), order (labels first to last, or "size"), stacked, max, lines(host), either (the first metric
 * there is stands for all of them).
 */
export const SECTIONS = [
  {
    id: "cpu",
    title: "CPU",
    charts: [
      { title: "Busy", metrics: ["vedette.cpu.busy"], max: 1 },
      {
        title: "By mode",
        metrics: ["system.cpu.utilization"],
        label: by("cpu.mode"),
        skip: (attributes) => attributes["cpu.mode"] === "idle",
        order: ["user", "system", "iowait", "nice", "interrupt", "steal"],
        stacked: true,
        max: 1,
      },
      {
        title: "Per core",
        metrics: ["vedette.cpu.core.busy"],
        label: (attributes) => `core ${attributes["cpu.logical_number"] ?? "?"}`,
        max: 1,
        heat: true,
      },
      {
        title: "Load average",
        metrics: ["system.cpu.load_average.1m", "system.cpu.load_average.5m", "system.cpu.load_average.15m"],
        label: (_, name) => name.split(".").pop().replace("m", " min"),
        order: ["1 min", "5 min", "15 min"],
        plain: true,
        lines: (host) => (host.cpus ? [{ v: host.cpus, text: plural(host.cpus, "CPU") }] : []),
      },
      {
        title: "Waiting to run",
        metrics: ["vedette.process.runnable", "vedette.process.blocked"],
        label: (_, name) => (name.endsWith("blocked") ? "blocked on I/O" : "runnable"),
      },
      { title: "Context switches", metrics: ["vedette.cpu.context_switches"] },
      { title: "Interrupts", metrics: ["vedette.cpu.interrupts"] },
      { title: "Cores by mode", metrics: ["vedette.cpu.core.utilization"], label: by("cpu.logical_number", "cpu.mode"), order: "size" },
    ],
    owns: ["system.cpu.time", "system.cpu.logical.count"], // told by "By mode" and the facts above
  },
  {
    id: "memory",
    title: "Memory",
    charts: [
      {
        title: "Memory",
        metrics: ["system.memory.usage"],
        label: by("system.memory.state"),
        skip: (attributes) => attributes["system.memory.state"] === "free",
        order: ["used", "buffers", "cached"],
        stacked: true,
        lines: (host) => (host.memory_bytes ? [{ v: host.memory_bytes, text: "installed" }] : []),
      },
      {
        title: "Share used",
        metrics: ["system.memory.utilization"],
        label: by("system.memory.state"),
        skip: (attributes) => attributes["system.memory.state"] !== "used",
        max: 1,
      },
      { title: "Available", metrics: ["system.memory.linux.available"] },
      {
        title: "Waiting for the disk",
        metrics: ["vedette.memory.dirty", "vedette.memory.writeback"],
        label: (_, name) => name.split(".").pop(),
      },
    ],
    owns: ["system.memory.limit"],
  },
  {
    id: "paging",
    title: "Paging",
    charts: [
      { title: "Swap used", metrics: ["system.paging.utilization"], label: by("system.paging.state", "system.device"), max: 1 },
      { title: "Swap amount", metrics: ["system.paging.usage"], label: by("system.paging.state", "system.device") },
      {
        title: "Paging",
        metrics: ["system.paging.operations"],
        label: by("system.paging.fault.type", "system.paging.type", "system.paging.direction"),
      },
      { title: "Page faults", metrics: ["system.paging.faults"], label: by("system.paging.type", "system.paging.fault.type") },
      { title: "Killed for memory", metrics: ["vedette.memory.oom_kills"] },
    ],
  },
  {
    id: "disk",
    title: "Disk",
    charts: [
      { title: "Throughput", metrics: ["system.disk.io"], label: device },
      { title: "Operations", metrics: ["system.disk.operations"], label: device },
      { title: "Busy", metrics: ["vedette.disk.utilization", "system.disk.io_time"], either: true, label: by("system.device"), max: 1 },
      { title: "Pending", metrics: ["vedette.disk.pending"], label: by("system.device") },
      { title: "Time in operations", metrics: ["system.disk.operation_time"], label: device },
    ],
  },
  {
    id: "filesystems",
    title: "Filesystems",
    special: "filesystems",
    charts: [
      {
        title: "Used over time",
        metrics: ["system.filesystem.utilization"],
        label: by("system.filesystem.mountpoint"),
        skip: (attributes) => (attributes["system.filesystem.state"] ?? "used") !== "used",
        order: "size",
        max: 1,
      },
      { title: "Inodes used", metrics: ["vedette.filesystem.inodes.utilization"], label: by("system.filesystem.mountpoint"), order: "size", max: 1 },
    ],
    owns: ["system.filesystem.usage"],
  },
  {
    id: "network",
    title: "Network",
    charts: [
      { title: "Throughput", metrics: ["system.network.io"], label: nic },
      { title: "Packets", metrics: ["system.network.packet.count"], label: nic },
      { title: "Dropped", metrics: ["system.network.packet.dropped"], label: nic },
      { title: "Errors", metrics: ["system.network.errors"], label: nic },
    ],
  },
  {
    id: "processes",
    title: "Processes",
    special: "processes",
    charts: [
      { title: "CPU by program", metrics: ["process.cpu.utilization"], label: process, order: "size" },
      { title: "Memory by program", metrics: ["process.memory.usage"], label: process, order: "size" },
      { title: "Processes", metrics: ["system.process.count"], label: by("process.state") },
      { title: "Threads", metrics: ["vedette.process.threads"] },
      { title: "Started", metrics: ["system.process.created"] },
    ],
  },
];

/** Metrics of the agent itself: its cost, its collectors, its spool. */
export const AGENT = {
  id: "agent",
  title: "Agent",
  charts: [
    { title: "CPU of the agent", metrics: ["vedette.agent.cpu.utilization"] },
    { title: "Memory of the agent", metrics: ["vedette.agent.memory.usage"] },
    {
      title: "Collector duration",
      metrics: ["vedette.collector.duration"],
      label: by("vedette.collector.name"),
      order: "size",
    },
  ],
};

/** Build the sections of a host from the metric names it sends. */
export function arrange(names) {
  const left = new Set(names);
  const take = (section) => {
    const charts = section.charts
      .map((chart) => ({ ...chart, metrics: chart.metrics.filter((name) => left.has(name)) }))
      .filter((chart) => chart.metrics.length);
    for (const name of [...(section.owns ?? []), ...charts.flatMap((chart) => chart.metrics)]) left.delete(name);
    for (const chart of charts) if (chart.either) chart.metrics.length = 1;
    return { ...section, charts };
  };
  const known = SECTIONS.map(take).filter((section) => section.charts.length);
  const agent = take(AGENT);
  const rest = [...left].sort();
  agent.charts.push(...rest.filter((name) => name.startsWith("vedette.")).map(plainChart));
  const others = rest.filter((name) => !name.startsWith("vedette.")).map(plainChart);
  return { known, others, agent };
}

const plainChart = (name) => ({ title: name, metrics: [name], raw: true });
