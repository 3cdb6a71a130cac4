#!/usr/bin/env python3
"""report.py - run bench-frames, tell what it found.

Raw numbers go to the directory --raw. With --docs DIRECTORY, tables and pictures are
written there: bench-frames.md, bench-frames.png and .svg. --short is for figures only
and takes a third of the time. Ends with a line `figure NAME VALUE TARGET met|short`
for every target.
"""
import collections
import datetime
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reports  # noqa: E402

PEERS = ["loam", "llfree", "linux", "linux-lock", "buddy", "buddy-lock", "stack"]
WORKLOADS = ["bulk", "array", "repeat", "random", "replace", "2M", "1G", "nearfull"]
GIB = [1, 8, 256, 1024]
# DESIGN's table, ns: the target, and what peers took there, on another machine and with
# another Linux-shaped buddy (the better end of its range).
TARGETS = {"bulk": (9, {"linux": 14, "llfree": 36}), "repeat": (8, {"linux": 4.9, "llfree": 33}),
           "random": (12, {"linux": 29, "llfree": 36}), "2M": (13, {"linux": 9.6, "llfree": 27})}
COLORS = {"loam": "#0b5394", "llfree": "#783f04", "linux": "#b45f06", "linux-lock": "#e69138",
          "buddy": "#999999", "buddy-lock": "#bbbbbb", "stack": "#000000"}


# ---- running -------------------------------------------------------------------

def run_bench(arguments):
    command = [arguments.bench, "--out", str(arguments.raw)]
    command += ["--rounds", "7", "--no-threads"] if arguments.short else ["--rounds", "25"]
    command += ["--llfree", arguments.llfree] if arguments.llfree else []
    reports.run(arguments.raw, command)


# ---- reading -------------------------------------------------------------------

class Results:
    """All raw numbers; ns unless their name says otherwise."""

    def __init__(self, raw):
        def rounds(name, key, value):
            found = collections.defaultdict(dict)  # {round: number}
            if (raw / name).exists():
                for row in reports.rows_of(raw / name):
                    found[key(row)][row.get("round", row.get("seed"))] = value(row)
            return found

        self.speed = rounds("speed.csv", lambda row: (row["workload"], row["peer"]),
                            lambda row: float(row["ns"]) / int(row["pairs"]))
        self.cross = rounds("cross.csv", lambda row: row["peer"],
                            lambda row: (float(row["alloc_ns"]), float(row["free_ns"]),
                                         float(row["wall_ns"])))
        self.scaling = rounds("scaling.csv", lambda row: (row["peer"], int(row["threads"])),
                              lambda row: (float(row["cpu_ns"]), float(row["wall_ns"])))
        self.blocks = rounds("fragments.csv", lambda row: (row["peer"], int(row["rounds"])),
                             lambda row: int(row["blocks"]))
        self.failing = rounds("failing.csv",
                              lambda row: (row["peer"], row["state"], int(row["order"])),
                              lambda row: float(row["ns"]))
        self.init = rounds("init.csv", lambda row: (row["peer"], int(row["zeroed"])),
                           lambda row: float(row["ns"]))
        self.metadata = {(row["peer"], int(row["gib"])): int(row["bytes"]) / 1024 /
                         int(row["gib"]) for row in reports.rows_of(raw / "metadata.csv")}
        self.stranded = {row["peer"]: int(row["frames"])
                         for row in reports.rows_of(raw / "stranded.csv")}
        found = {peer for _, peer in self.speed}
        self.peers = [peer for peer in PEERS if peer in found]
        self.threads = sorted({threads for _, threads in self.scaling})
        self.stops = sorted({stop for _, stop in self.blocks})

    def median(self, workload, peer):
        """None: does not take part."""
        values = self.speed.get((workload, peer))
        return statistics.median(values.values()) if values else None

    def ratio(self, workload, peer, base):
        """Median of the ratios of the rounds that both took part in; None: there is none."""
        one, other = self.speed.get((workload, peer), {}), self.speed.get((workload, base), {})
        ratios = [ns / other[number] for number, ns in one.items() if number in other]
        return statistics.median(ratios) if ratios else None

    def worst_failing(self, peer):
        """ns"""
        return max(statistics.median(values.values())
                   for (name, _, _), values in self.failing.items() if name == peer)


# ---- figures -------------------------------------------------------------------

def figures(results):
    """Of every target whose peer was there."""
    found = [(f"frame.{name}", results.median(name, "loam"), f"<={target}")
             for name, (target, _) in TARGETS.items()]
    for peer in ("linux", "llfree"):
        found += [(f"frame.{name}.vs_{peer}", results.ratio(name, "loam", peer),
                   f"<={target / others[peer]:.2f}") for name, (target, others) in TARGETS.items()]
    largest = max(results.metadata["loam", gib] for gib in GIB if gib >= 8)
    init_ns = statistics.median(results.init["loam", 0].values())
    left = statistics.mean(results.blocks["loam", max(results.stops)].values())
    found += [("frame.metadata_kib", largest, "<=36"),
              ("frame.failing_us", results.worst_failing("loam") / 1e3, "<=0.3"),
              ("frame.init_1t_ms", init_ns / 1e6, "<=16"),
              ("frame.blocks_left", left, ">=500")]
    return [reports.figure_of(*figure) for figure in found if figure[1] is not None]


# ---- tables --------------------------------------------------------------------

def speed_table(results):
    rows = []
    for peer in results.peers:
        cells = []
        for workload in WORKLOADS:
            ns, ratio = results.median(workload, peer), results.ratio(workload, peer, "loam")
            beside = f" ({ratio:.2f})" if ratio is not None and peer != "loam" else ""
            cells.append("" if ns is None else f"{ns:.1f}{beside}")
        rows.append([f"`{peer}`", *cells])
    rows.append(["target", *(str(TARGETS[w][0]) if w in TARGETS else "" for w in WORKLOADS)])
    return reports.table(["ns for a pair", *WORKLOADS], rows)


def cross_table(results):
    rows = []
    for peer in results.peers:
        if peer in results.cross:
            allocs, frees, walls = zip(*results.cross[peer].values())
            stranded = results.stranded.get(peer)
            rows.append([f"`{peer}`", f"{statistics.median(allocs):.1f}",
                         f"{statistics.median(frees):.1f}", f"{min(walls):.1f}",
                         "" if stranded is None else str(stranded)])
    return reports.table(["", "alloc, ns", "free, ns", "both at once, by the clock", "stranded"],
                         rows)


def scaling_table(results):
    rows = []
    for peer in results.peers:
        if (peer, 1) in results.scaling:
            cells = []
            for threads in results.threads:
                times, walls = zip(*results.scaling[peer, threads].values())
                cells.append(f"{statistics.median(times):.1f} / {1e3 / min(walls):.0f}")
            rows.append([f"`{peer}`", *cells])
    return reports.table(["ns for a pair / million pairs/s of all",
                         *(f"{threads} CPUs" if threads > 1 else "1 CPU"
                           for threads in results.threads)], rows)


def fragments_table(results):
    rows = [[f"`{peer}`", *(f"{statistics.mean(results.blocks[peer, stop].values()):.0f}"
                            for stop in results.stops)]
            for peer in results.peers if (peer, 0) in results.blocks]
    return reports.table(["blocks left after rounds", *map(str, results.stops)], rows)


def large_table(results):
    def failing(peer, state, order):
        values = results.failing.get((peer, state, order))
        return f"{statistics.median(values.values()):.0f}" if values else ""

    def init(peer, zeroed):
        values = results.init.get((peer, zeroed))
        return f"{statistics.median(values.values()) / 1e6:.3f}" if values else ""

    rows = []
    for peer in results.peers:
        if any(name == peer for name, _, _ in results.failing):
            metadata = [results.metadata.get((peer, gib)) for gib in GIB]
            rows.append([f"`{peer}`", *("" if kib is None else f"{kib:.1f}" for kib in metadata),
                         failing(peer, "full", 0), failing(peer, "full", 9),
                         failing(peer, "full", 18), failing(peer, "scattered", 9),
                         init(peer, 1), init(peer, 0)])
    return reports.table(["", *(f"KiB/GiB, {gib} GiB" for gib in GIB), "fails: 4K, ns", "2M", "1G",
                         "2M, 0.1 % free", "init 1 TiB, zeroed, ms", "not zeroed"], rows)


def document(arguments, results):
    rounds = len(results.speed["bulk", "loam"])
    seeds = len(results.blocks["loam", 0])
    buddy = reports.version("peers-frames", "buddy_system_allocator")
    llfree = reports.version("peers-frames/llfree", "llfree")
    lines = ["# The page frame allocator and its peers", "",
             f"Written by `make bench-frames` on {datetime.date.today().isoformat()}: one run, in "
             f"which all take turns, {rounds} rounds; medians.",
             "(In the last two parts, where they are far apart, each has its turn once.)",
             "Numbers of different runs are not to be compared, ratios are.", ""]
    lines += reports.machine(arguments.cargo)
    lines += [f"- `buddy`: buddy_system_allocator {buddy}, bare; "
              "`buddy-lock`: behind the spin lock that it brings",
              "- `linux`: a buddy with per-CPU lists as Linux's (batch 63, high 378, orders 0 to "
              "10), written for this",
              "  benchmark; to its advantage its `struct page` has 16 bytes, not 64, and the "
              "turning off of interrupts, watermarks",
              "  and debugging are left out; `linux-lock`: with a lock in each list, as Linux has "
              "since 6.2",
              f"- `llfree`: LLFree {llfree} (Rust), which is not on "
              "crates.io: `make LLFREE=DIRECTORY bench-frames`,",
              "  with a copy of its repository; set up as in its own benchmark, frames of two "
              "classes, a reservation per CPU and class",
              "- `stack`: a bare stack of frame numbers per CPU, the limit: what the benchmark "
              "itself costs is in it", "",
              "RAM is only numbers: nothing but metadata is touched. All are called through the "
              "same function pointers, which get and",
              "give addresses; metadata is on large pages where the system has them, and mapped "
              "before. Each is set up for 16 CPUs.",
              "Before it is timed, each is checked beside a plain array: distinct frames, also "
              "when all CPUs take some at once, aligned",
              "blocks, none lost.", "",
              "## Targets", ""]
    lines += reports.target_table(figures(results))
    lines += ["`vs_` are ratios, medians over the rounds; their targets are those of DESIGN's "
              "table, of another machine and, for",
              "`linux`, of another program.", "",
              "## Speed", "", "![nanoseconds for a pair, scaling, fragmentation](bench-frames.png)",
              "", "One thread, 8 GiB, CPU time. In parentheses: times Loam's, median of the ratios "
              "of each round.", ""]
    lines += speed_table(results)
    lines += ["- bulk: half of memory in single frames, freed in the same order; array: through "
              "the calls for arrays, 64 frames each",
              "- repeat: one frame again and again, half of memory in use; 2M, 1G: such blocks, "
              "half of memory in use in such blocks",
              "- random: half of memory freed in random order and allocated again",
              "- replace: a random frame freed and one allocated, half of memory in use; nearfull: "
              "with 0.1 % free, at random places", "",
              "## Several CPUs", "",
              "CPU 0 allocates, CPU 1 frees what it did, both at once; CPU time of each side per "
              "frame. Stranded: of 524288 frames that",
              "CPU 1 has freed, those that CPU 0 does not get. (Linux has other code empty the "
              "lists, later.) By the clock it is the",
              "least of the rounds: whoever else uses the machine only adds to it. Addresses go "
              "through a ring, which is most of `stack`.", ""]
    lines += cross_table(results)
    lines += ["Bulk on so many CPUs at once: CPU time for a pair, and the pairs of all CPUs "
              "together by the clock.", ""]
    lines += scaling_table(results)
    lines += ["## Fragmentation", "",
              "2 GiB are allocated in single frames and a random half is freed; in each round as "
              "many frames as a tenth of memory are",
              "replaced, each by freeing a random one and allocating one. Blocks of 2 MiB that "
              f"can be allocated then, mean of {seeds} seeds;",
              "512 is all that is free.", ""]
    lines += fragments_table(results)
    lines += ["## Large machines", "",
              "Metadata; a request that fails, 256 GiB in use in single frames, and with one frame "
              "free in every other 2 MiB; bringing",
              "up 1 TiB over metadata that is zeroed already and that is not. `buddy` takes its "
              "metadata from a heap, as it goes.", ""]
    lines += large_table(results)
    return "\n".join(lines).rstrip() + "\n"


# ---- pictures ------------------------------------------------------------------

def pictures(results, folder):
    pyplot = reports.pyplot_for("bench-frames")
    figure, (bars, scaling, blocks) = pyplot.subplots(
        1, 3, figsize=(16, 4), gridspec_kw={"width_ratios": [2.2, 1, 1]})

    reports.grouped_bars(bars, WORKLOADS, results.peers,
                         lambda workload, peer: results.median(workload, peer) or 0, COLORS)
    reports.target_lines(bars, WORKLOADS, {name: target for name, (target, _) in TARGETS.items()})
    bars.set_yscale("log")
    bars.set_ylabel("ns for a pair")
    bars.legend(fontsize=8, frameon=False, ncol=2)

    for peer in results.peers:
        if (peer, 1) in results.scaling:
            rates = [1e3 / min(wall for _, wall in results.scaling[peer, threads].values())
                     for threads in results.threads]
            scaling.plot(results.threads, rates, marker="o", markersize=4, color=COLORS[peer])
        if (peer, 0) in results.blocks:
            left = [statistics.mean(results.blocks[peer, stop].values()) for stop in results.stops]
            blocks.plot(results.stops, left, marker="o", markersize=4, color=COLORS[peer])
    scaling.set_yscale("log")
    scaling.set_xticks(results.threads)
    scaling.set_xlabel("CPUs")
    scaling.set_ylabel("bulk: million pairs per second, all CPUs")
    blocks.set_xlabel("rounds")
    blocks.set_ylabel("blocks of 2 MiB left of 512")
    for axes in (bars, scaling, blocks):
        reports.plain(axes)
    figure.tight_layout()
    reports.save(figure, folder / "bench-frames")


if __name__ == "__main__":
    reports.report("bench-frames", sys.modules[__name__],
                   {"--llfree": "library of it that is measured too"})
