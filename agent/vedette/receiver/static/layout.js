// Which metrics of a host are shown where. What no section claims appears under "Everything else".

import { plural } from "./format.js";

const FOLDED_FROM = 6; // charts of a section of detail that are still shown at once
const FEW = 2; // charts of detail for which no other section is closed

const by = (...keys) => (attributes) => keys.map((key) => attributes[key]).filter(Boolean).join(" ");
const device = by("system.device", "disk.io.direction");
const nic = by("network.interface.name", "network.io.direction");
const process = by("process.executable.name");
const mount = by("system.filesystem.mountpoint");
const sensor = by("hw.id", "hw.name", "system.device", "hw.sensor_location", "hw.gpu.task", "hw.type");
const tail = (_, name) => name.split(".").pop().replace(/_/g, " ");

/**
 * Sections in reading order. A chart: title, metrics (names, drawn together), label(attributes, name),
 * skip(attributes), order (labels first to last, or "size"), stacked, max, lines(host), either (the first metric
 * there is stands for all of them).
 *
 * `kin` are beginnings of names: what else begins so gets a chart of its own behind `charts`. In a section of
 * detail (`folded`) all charts are closed at first when there are many, in the others only those of `kin`.
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
      {
        title: "Frequency",
        metrics: ["vedette.cpu.frequency.max", "vedette.cpu.frequency.mean", "vedette.cpu.frequency.min"],
        label: tail,
        order: ["max", "mean", "min"],
      },
      { title: "Context switches", metrics: ["vedette.cpu.context_switches"] },
      { title: "Interrupts", metrics: ["vedette.cpu.interrupts"] },
      { title: "Cores by mode", metrics: ["vedette.cpu.core.utilization"], label: by("cpu.logical_number", "cpu.mode"), order: "size" },
    ],
    owns: ["system.cpu.time", "system.cpu.logical.count"], // told by "By mode" and the facts above
    kin: ["vedette.cpu.", "system.cpu."],
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
    kin: ["system.paging.", "vedette.paging."],
  },
  {
    id: "disk",
    title: "Disk",
    charts: [
      { title: "Throughput", metrics: ["system.disk.io"], label: device },
      { title: "Operations", metrics: ["system.disk.operations"], label: device },
      { title: "Busy", metrics: ["vedette.disk.utilization", "system.disk.io_time"], either: true, label: by("system.device"), max: 1 },
      { title: "Pending", metrics: ["vedette.disk.pending"], label: by("system.device") },
      { title: "Time per operation", metrics: ["vedette.disk.operation.wait"], label: device },
      { title: "Time in operations", metrics: ["system.disk.operation_time"], label: device },
    ],
    kin: ["system.disk.", "vedette.disk."],
  },
  {
    id: "filesystems",
    title: "Filesystems",
    special: "filesystems",
    charts: [
      {
        title: "Used over time",
        metrics: ["system.filesystem.utilization"],
        label: mount,
        skip: (attributes) => (attributes["system.filesystem.state"] ?? "used") !== "used",
        order: "size",
        max: 1,
      },
      { title: "Inodes used", metrics: ["vedette.filesystem.inodes.utilization"], label: mount, order: "size", max: 1 },
      { title: "Read-only", metrics: ["vedette.filesystem.read_only"], label: mount, detail: true },
      { title: "Responding", metrics: ["vedette.filesystem.responding"], label: mount, detail: true },
      {
        title: "Inodes",
        metrics: ["system.filesystem.inodes.usage"],
        label: by("system.filesystem.mountpoint", "system.filesystem.state"),
        detail: true,
      },
    ],
    owns: ["system.filesystem.usage", "system.filesystem.limit"],
    kin: ["system.filesystem.", "vedette.filesystem."],
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
    kin: ["system.network.", "vedette.network.", "vedette.infiniband."],
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
      { title: "Watched, CPU", metrics: ["vedette.watch.cpu.utilization"], order: "size" },
      { title: "Watched, memory", metrics: ["vedette.watch.memory.usage"], order: "size" },
      { title: "Watched, processes", metrics: ["vedette.watch.process.count"] },
    ],
    kin: ["process.", "system.process.", "vedette.process.", "vedette.watch."],
  },
  {
    id: "pressure",
    title: "Pressure",
    charts: [
      {
        title: "Time lost waiting",
        metrics: ["vedette.pressure.time"],
        label: by("vedette.pressure.resource", "vedette.pressure.kind"),
      },
    ],
    kin: ["vedette.pressure."],
  },
  {
    id: "connections",
    title: "Connections and protocols",
    short: "Connections",
    folded: true,
    charts: [
      {
        title: "Connections",
        metrics: ["system.network.connection.count"],
        label: by("network.transport", "network.connection.state"),
        order: "size",
      },
      { title: "Sockets in use", metrics: ["vedette.sockets.in_use"], label: by("network.type", "network.transport") },
      {
        title: "TCP opened",
        metrics: ["vedette.tcp.active_opens", "vedette.tcp.passive_opens"],
        label: (_, name) => (name.includes("passive") ? "accepted" : "made"),
      },
      {
        title: "TCP failed and reset",
        metrics: ["vedette.tcp.attempt_fails", "vedette.tcp.established_resets", "vedette.tcp.resets_sent", "vedette.tcp.in_errors"],
        label: tail,
      },
      { title: "TCP sent again", metrics: ["vedette.tcp.retransmits", "vedette.tcp.syn_retransmits", "vedette.tcp.timeouts"], label: tail },
      {
        title: "Refused by full queues",
        metrics: [
          "vedette.tcp.listen.overflows", "vedette.tcp.listen.drops", "vedette.tcp.syn_queue.drops", "vedette.tcp.backlog_drops",
          "vedette.tcp.time_wait_overflows",
        ],
        label: (_, name) => name.replace("vedette.tcp.", "").replace(/[._]/g, " "),
      },
      { title: "Accept queue used", metrics: ["vedette.tcp.accept_queue.utilization"] },
      {
        title: "TCP memory used",
        metrics: ["vedette.tcp.memory.utilization"],
      },
      { title: "UDP datagrams", metrics: ["vedette.udp.datagrams"] },
      {
        title: "UDP trouble",
        metrics: ["vedette.udp.no_ports", "vedette.udp.in_errors", "vedette.udp.buffer_errors", "vedette.udp.checksum_errors"],
        label: (attributes, name) => [...Object.values(attributes), tail(attributes, name)].join(" "),
      },
      { title: "Packets taken from the cards", metrics: ["vedette.softnet.processed"] },
      {
        title: "Too slow for the cards",
        metrics: ["vedette.softnet.dropped", "vedette.softnet.time_squeezed", "vedette.softnet.flow_limited"],
        label: tail,
      },
      { title: "Connection tracking used", metrics: ["vedette.conntrack.utilization"] },
      {
        title: "Connection tracking trouble",
        metrics: ["vedette.conntrack.drops", "vedette.conntrack.early_drops", "vedette.conntrack.insert_failed", "vedette.conntrack.invalid"],
        label: tail,
      },
      { title: "Neighbours used", metrics: ["vedette.neighbours.utilization"] },
    ],
    kin: [
      "vedette.tcp.", "vedette.udp.", "vedette.ip.", "vedette.icmp.", "vedette.sockets.", "vedette.softnet.", "vedette.conntrack.",
      "vedette.neighbours.", "vedette.ipvs.",
    ],
  },
  {
    id: "services",
    title: "Services and containers",
    short: "Services",
    folded: true,
    charts: [
      { title: "CPU by service", metrics: ["vedette.service.cpu.time"], order: "size" },
      { title: "Memory by service", metrics: ["vedette.service.memory.usage"], order: "size" },
      { title: "CPU by container", metrics: ["container.cpu.time"], order: "size" },
      { title: "Memory by container", metrics: ["container.memory.usage"], order: "size" },
      { title: "Memory of its limit", metrics: ["vedette.container.memory.utilization"], order: "size" },
      { title: "Disk by container", metrics: ["container.disk.io"], order: "size" },
      { title: "Units by state", metrics: ["vedette.systemd.units"] },
      { title: "Failed units", metrics: ["vedette.systemd.unit.failed"] },
      { title: "Restarts", metrics: ["vedette.systemd.restarts"] },
    ],
    kin: ["container.", "vedette.container.", "vedette.service.", "vedette.systemd.", "vedette.cgroup.", "systemd."],
  },
  {
    id: "models",
    title: "Models",
    charts: [
      { title: "Requests by outcome", metrics: ["vedette.model.requests"], label: by("gen_ai.request.model", "vedette.model.outcome", "vedette.model.endpoint"), order: "size" },
      { title: "Time to first token", metrics: ["gen_ai.server.time_to_first_token"], label: by("gen_ai.request.model", "vedette.model.endpoint") },
      { title: "Request duration", metrics: ["gen_ai.server.request.duration", "vedette.model.request.duration"], label: by("gen_ai.request.model", "vedette.model.endpoint") },
      { title: "Requests waiting", metrics: ["vedette.model.requests.waiting"], label: by("gen_ai.request.model", "vedette.model.endpoint") },
      { title: "KV cache used", metrics: ["vedette.model.kv_cache.utilization"], label: by("gen_ai.request.model", "vedette.model.endpoint") },
      { title: "Tokens", metrics: ["vedette.model.tokens"], label: by("gen_ai.request.model", "gen_ai.token.type"), order: "size" },
      { title: "Server silent for", metrics: ["vedette.model.server.silence"], label: by("vedette.model.endpoint") },
    ],
    kin: ["vedette.model.", "gen_ai."],
  },
  {
    id: "logs",
    title: "Logs",
    charts: [
      { title: "Events by source", metrics: ["vedette.log.events"], label: by("vedette.log.source"), order: "size" },
      { title: "Warnings and errors", metrics: ["vedette.log.troubles"], label: by("vedette.log.source", "vedette.log.severity"), order: "size" },
      { title: "Lines read", metrics: ["vedette.log.lines"] },
      { title: "Strangeness", metrics: ["vedette.log.strangeness"], order: "size" },
      { title: "Not read yet", metrics: ["vedette.log.backlog"], detail: true },
      { title: "Read", metrics: ["vedette.log.io"], detail: true },
      { title: "Templates", metrics: ["vedette.log.templates"], detail: true },
      { title: "Texts masked", metrics: ["vedette.log.redacted"], detail: true },
      { title: "Lost unread", metrics: ["vedette.log.lost"], detail: true },
    ],
    kin: ["vedette.log."],
  },
  {
    id: "hardware",
    title: "Hardware and sensors",
    short: "Hardware",
    folded: true,
    charts: [
      { title: "Temperature", metrics: ["hw.temperature", "vedette.smart.temperature"], label: sensor, order: "size" },
      { title: "Power", metrics: ["hw.power"], label: sensor, order: "size" },
      { title: "Fans", metrics: ["hw.fan.speed"], label: sensor },
      { title: "GPU busy", metrics: ["hw.gpu.utilization"], label: sensor },
      { title: "GPU memory used", metrics: ["hw.gpu.memory.utilization"], label: sensor },
      { title: "Errors", metrics: ["hw.errors"] },
      { title: "Battery", metrics: ["hw.battery.charge"] },
      { title: "Disk healthy", metrics: ["vedette.smart.healthy"] },
      { title: "Disk wear", metrics: ["vedette.smart.wear"] },
    ],
    kin: ["hw.", "vedette.hw.", "vedette.gpu.", "vedette.smart.", "vedette.memory.module."],
  },
  {
    id: "kernel",
    title: "Kernel and memory details",
    short: "Kernel",
    folded: true,
    charts: [
      { title: "Events in the kernel log", metrics: ["vedette.kernel.events"] },
      { title: "Kernel messages", metrics: ["vedette.kernel.messages"], order: "size" },
      { title: "Open files of the limit", metrics: ["vedette.kernel.file_handles.utilization"] },
      {
        title: "Memory promised",
        metrics: ["vedette.memory.commit.usage", "vedette.memory.commit.limit"],
        label: tail,
      },
      { title: "Memory of the kernel", metrics: ["vedette.memory.kernel.usage", "system.memory.linux.slab.usage"], order: "size" },
      { title: "Memory by NUMA node", metrics: ["vedette.numa.memory.usage"], label: by("vedette.numa.node", "system.memory.state") },
      { title: "Soft interrupts", metrics: ["vedette.interrupts.softirq"], order: "size" },
      { title: "Interrupts by device", metrics: ["vedette.interrupts.device"], order: "size" },
      { title: "Clock offset", metrics: ["vedette.clock.offset"] },
      { title: "Users", metrics: ["vedette.user.count", "vedette.user.sessions"], label: (_, name) => (name.endsWith("count") ? "users" : "sessions") },
    ],
    owns: ["vedette.host.boot_time", "vedette.host.items"], // told by the uptime and the inventory
    kin: [
      "vedette.kernel.", "vedette.memory.", "system.memory.", "vedette.numa.", "vedette.interrupts.", "vedette.ipc.", "vedette.user.",
      "vedette.clock.", "system.uptime",
    ],
  },
  {
    id: "storage",
    title: "Storage pools and network filesystems",
    short: "Storage",
    folded: true,
    charts: [
      { title: "RAID disks missing", metrics: ["vedette.raid.degraded"] },
      { title: "RAID rebuilding", metrics: ["vedette.raid.sync.progress"], max: 1 },
      { title: "ZFS cache hits", metrics: ["vedette.zfs.arc.hit_ratio"], max: 1 },
      { title: "ZFS pools", metrics: ["vedette.zfs.pool.io"] },
      { title: "ZFS pools degraded", metrics: ["vedette.zfs.pool.degraded"] },
      { title: "Btrfs device errors", metrics: ["vedette.btrfs.device.errors"] },
      { title: "Bcache hits", metrics: ["vedette.bcache.hit_ratio"], max: 1 },
    ],
    kin: ["vedette.raid.", "vedette.zfs.", "vedette.btrfs.", "vedette.bcache.", "nfs.", "vedette.nfs."],
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

/** Build the sections of a host from the metric names it sends: `charts` are seen at once, `more` are closed. */
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
  const taken = SECTIONS.map(take);
  const agent = take(AGENT);
  const known = taken.map((section) => fold(section, claim(left, section.kin))).filter((one) => one.charts.length || one.more.length);
  const rest = [...left].sort();
  agent.charts.push(...rest.filter((name) => name.startsWith("vedette.")).map(plainChart));
  const others = rest.filter((name) => !name.startsWith("vedette.")).map(plainChart);
  return { known, others, agent };
}

function claim(left, kin = []) {
  const mine = [...left].filter((name) => kin.some((start) => name.startsWith(start))).sort();
  for (const name of mine) left.delete(name);
  return mine.map((name) => ({ title: said(name), metrics: [name], named: true }));
}

function fold(section, kin) {
  const shown = section.charts.filter((chart) => !chart.detail);
  const detail = section.charts.filter((chart) => chart.detail).concat(kin);
  if (shown.length + detail.length <= (section.folded ? FOLDED_FROM : shown.length + FEW)) return { ...section, charts: [...shown, ...detail], more: [] };
  return section.folded ? { ...section, charts: [], more: [...shown, ...detail] } : { ...section, charts: shown, more: detail };
}

const LETTERS = new Set([
  "arc", "cpu", "ecc", "fh", "gpu", "icmp", "id", "io", "ip", "ipc", "ipvs", "ksm", "mig", "mtu", "nfs", "numa", "nvlink", "oom", "pcie",
  "raid", "rpc", "smart", "syn", "tai", "tcp", "udp", "zfs", "zil",
]);

/** The name of a metric as words: `vedette.tcp.syn_queue.drops` is `TCP SYN queue drops`. */
export function said(name) {
  const words = name.replace(/^(vedette|system|hw)\./, "").split(/[._]/).map((word) => (LETTERS.has(word) ? word.toUpperCase() : word));
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const plainChart = (name) => ({ title: name, metrics: [name], raw: true });
