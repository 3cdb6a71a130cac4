#!/usr/bin/env python3
"""report.py - run bench-arena, tell what it found.

Raw numbers go to --raw. With --docs DIRECTORY, tables and pictures are written
there: bench-arena.md and bench-arena-*.png and .svg. --short is for figures only and
takes a quarter of the time. Ends with a line `figure NAME VALUE TARGET met|short` for
every target.
"""
import collections
import csv
import datetime
import math
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reports  # noqa: E402

SPEED = ["mixed", "small", "noreallocsmall", "aligned"]
# Columns of the density table; the absolute targets are for the arena.
DENSITY_TARGETS = {"log1-64K": 99.6, "log8-512": 92.0, "churned-mixed": 97.0}
FREELIST_MIXES = ["log1-64K", "log8-512", "churned", "churned-mixed"]
OPERATIONS = ["alloc", "free", "realloc"]
PERCENTILES = ["p50", "p99", "p9999", "max"]
PEER_CRATES = {"talc5": ("talc", "5."), "talc4": ("talc", "4."), "rlsf": ("rlsf", ""),
               "dlmalloc": ("dlmalloc", ""), "galloc": ("good_memory_allocator", ""),
               "buddy": ("buddy_system_allocator", ""), "lla": ("linked_list_allocator", "")}


# ---- running -------------------------------------------------------------------

def run_bench(arguments):
    parts = [[]]
    if arguments.short:
        parts = [["--no-latency", "--rounds", "12", "--repeats", "1"],
                 ["--no-speed", "--no-bump", "--no-density", "--workloads", "mixed",
                  "--repeats", "3"]]
    for part in parts:
        reports.run(arguments.raw, [arguments.bench, "--out", str(arguments.raw), *part])
    if not arguments.short:
        run_instructions(arguments, Results(arguments.raw).heaps)


def inclusive(annotated, heap):
    """Instructions in each of a heap's functions and all they call."""
    function = re.compile(rf"^\s*([\d,]+) .*(?:heaps\.c:{heap}_|peers::{heap}::)"
                          r"(alloc|free|realloc)\w*(?: \[|$)", re.MULTILINE)
    found = collections.Counter()
    for count, name in function.findall(annotated):
        found[name] += int(count.replace(",", ""))
    return found


def count_instructions(bench, heap, part):
    """(name of the load, instructions per call of alloc, free and realloc)"""
    with tempfile.NamedTemporaryFile(suffix=".callgrind") as out:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", bench,
                   *part, "--heaps", heap]
        run = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        annotated = subprocess.run(
            ["callgrind_annotate", "--inclusive=yes", "--auto=no", "--threshold=100", out.name],
            check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    _, _, load, *calls = re.search(r"^calls .*$", run.stdout, re.MULTILINE).group(0).split()
    costs = inclusive(annotated, heap.split("-")[0])  # arena-unsized's are named as arena's
    return load, [f"{costs[name] / int(number):.1f}" if int(number) else ""
                  for name, number in zip(OPERATIONS, calls)]


def run_instructions(arguments, heaps):
    with open(arguments.raw / "instructions.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["load", "heap", *OPERATIONS])
        for part in (["--pairs"], ["--instructions", "--workloads", "small"]):
            for heap in heaps:
                print(f"  counting instructions: {heap} {part[0]}", file=sys.stderr, flush=True)
                load, costs = count_instructions(arguments.bench, heap, part)
                rows.writerow([load, heap, *costs])


# ---- reading -------------------------------------------------------------------

class Results:
    """All raw numbers, by name."""

    def __init__(self, raw):
        self.ns = collections.defaultdict(dict)  # workload, heap: {round: ns}
        for row in reports.rows_of(raw / "samples.csv"):
            per_operation = float(row["ns"]) / int(row["operations"])
            self.ns[row["workload"], row["heap"]][row["round"]] = per_operation
        self.heaps = list(dict.fromkeys(heap for _, heap in self.ns))
        order = {heap: i for i, heap in enumerate(
            ["empty", "arena", "arena-unsized", "block-arena", "block-freelist", "freelist",
             *PEER_CRATES])}
        self.heaps.sort(key=lambda heap: order.get(heap, len(order)))
        self.live, self.largest, self.mixes = {}, {}, {}
        density = collections.defaultdict(list)
        for row in reports.rows_of(raw / "density.csv"):
            density[row["mix"], row["heap"]].append((float(row["live"]), float(row["largest"])))
            self.mixes[row["mix"]] = int(row["span_bytes"])
        for key, values in density.items():
            self.live[key] = statistics.mean(live for live, _ in values)
            self.largest[key] = statistics.mean(largest for _, largest in values)
        self.cycles = {(row["workload"], row["operation"], row["heap"]): row
                       for row in reports.rows_of(raw / "latency.csv")}
        bump = collections.defaultdict(dict)
        for row in reports.rows_of(raw / "bump.csv"):
            bump[row["heap"]][row["round"]] = float(row["ns"])
        self.bump = bump
        self.instructions = []
        if (raw / "instructions.csv").exists():
            self.instructions = reports.rows_of(raw / "instructions.csv")

    def speed(self, workload, heap):
        """Million operations per second: median over the rounds."""
        return 1e3 / statistics.median(self.ns[workload, heap].values())

    def speed_ratio(self, workload, heap, base):
        """Median over the rounds that both took part in; None: there is none."""
        heap_ns, base_ns = self.ns.get((workload, heap), {}), self.ns.get((workload, base), {})
        ratios = [base_ns[number] / ns for number, ns in heap_ns.items() if number in base_ns]
        return statistics.median(ratios) if ratios else None

    def latency_ratio(self, operation, percentile, heap, base):
        one = self.cycles.get(("mixed", operation, heap))
        other = self.cycles.get(("mixed", operation, base))
        return int(one[percentile]) / int(other[percentile]) if one and other else None

    def density_ratio(self, mix, heap, base):
        if (mix, heap) not in self.live or (mix, base) not in self.live:
            return None
        return self.live[mix, heap] / self.live[mix, base]

    def bump_ratio(self):
        if "bump" not in self.bump:
            return None
        return statistics.median(ns / self.bump["increment"][number]
                                 for number, ns in self.bump["bump"].items())


# ---- figures -------------------------------------------------------------------

def digits_of(name):
    return 4 if ".vs_" in name and ".density." in name else 3


def figures(results):
    """Of every target whose heaps were there."""
    wanted = [(f"arena.{w}.vs_talc5", results.speed_ratio(w, "arena", "talc5"), ">=1.2")
              for w in SPEED]
    wanted += [(f"arena.density.{mix}", results.live.get((mix, "arena")), f">={target}")
               for mix, target in DENSITY_TARGETS.items()]
    wanted += [(f"arena.density.{mix}.vs_{peer}", results.density_ratio(mix, "arena", peer),
                ">=1.0") for mix in results.mixes for peer in ("talc4", "dlmalloc")]
    wanted += [("arena.alloc.p9999.vs_talc5",
                results.latency_ratio("alloc", "p9999", "arena", "talc5"), "<=1.0")]
    wanted += [(f"freelist.{w}.vs_lla", results.speed_ratio(w, "freelist", "lla"), ">=10")
               for w in SPEED]
    wanted += [(f"freelist.density.{mix}.vs_lla", results.density_ratio(mix, "freelist", "lla"),
                ">=1.0") for mix in FREELIST_MIXES]
    wanted += [("block.small.vs_freelist",
                results.speed_ratio("small", "block-freelist", "freelist"), ">=2")]
    wanted += [("bump.vs_increment", results.bump_ratio(), "<=1.5")]
    return [reports.figure_of(name, value, target, digits_of(name))
            for name, value, target in wanted if value is not None]


# ---- tables --------------------------------------------------------------------

def versions():
    return {heap: f"{crate} {reports.version('peers', crate, start)}"
            for heap, (crate, start) in PEER_CRATES.items()}


def speed_table(results):
    rows = []
    for heap in results.heaps:
        cells = []
        for workload in SPEED:
            ratio = results.speed_ratio(workload, heap, "talc5")
            beside = f" ({ratio:.3f})" if ratio is not None and heap != "talc5" else ""
            cells.append(f"{results.speed(workload, heap):.2f}{beside}")
        rows.append([f"`{heap}`", *cells])
    return reports.table(["million operations/s", *SPEED], rows)


def density_table(results):
    mixes = list(results.mixes)
    return reports.table(["% of the span", *mixes],
                         [[f"`{heap}`", *(f"{results.live[mix, heap]:.2f}" for mix in mixes)]
                          for heap in results.heaps if (mixes[0], heap) in results.live])


def largest_table(results):
    mixes = [mix for mix in results.mixes if "churned" in mix]
    return reports.table(["% of the span", *mixes],
                         [[f"`{heap}`", *(f"{results.largest[mix, heap]:.2f}" for mix in mixes)]
                          for heap in results.heaps if (mixes[0], heap) in results.largest])


def latency_table(results, workload):
    rows = []
    for heap in results.heaps:
        cells = []
        for operation in OPERATIONS:
            row = results.cycles.get((workload, operation, heap))
            cells.append(" / ".join(row[p] for p in PERCENTILES) if row else "")
        if any(cells):
            rows.append([f"`{heap}`", *cells])
    return reports.table([f"{workload}: p50 / p99 / p99.99 / max", *OPERATIONS], rows)


def instruction_table(results):
    by_heap = collections.defaultdict(list)
    for row in results.instructions:
        by_heap[row["heap"]] += [row[operation] for operation in OPERATIONS if row[operation]]
    head = ["instructions", "alloc(16), pair", "free, pair", *(f"{o}, small" for o in OPERATIONS)]
    return reports.table(head, [[f"`{heap}`", *cells] for heap, cells in by_heap.items()])


def bump_table(results):
    return reports.table(["", "ns an alloc"],
                         [[f"`{heap}`", f"{statistics.median(ns.values()):.2f}"]
                          for heap, ns in results.bump.items()])


def document(arguments, results):
    slow = ", ".join(f"`{heap}`" for heap in results.heaps
                     if len(results.ns["small", heap]) < len(results.ns["small", "talc5"]))
    rounds = len(results.ns["small", "talc5"])
    small_spans = ", ".join(f"{mix} {size >> 20} MiB" for mix, size in results.mixes.items()
                            if size != 64 << 20)
    step = math.gcd(*(int(row[p]) for row in results.cycles.values() for p in PERCENTILES))
    samples = int(results.cycles["mixed", "alloc", "talc5"]["samples"])
    lines = ["# The heaps and their peers", "",
             f"Written by `make bench-arena` on {datetime.date.today().isoformat()}: one run, in "
             "which all take turns.",
             "Numbers of different runs are not to be compared, ratios are.", ""]
    lines += reports.machine(arguments.cargo)
    lines += ["- " + ", ".join(f"`{heap}`: {version}" for heap, version in versions().items()),
              "- `empty` does nothing: what the benchmark itself costs", "",
              "Every heap has 64 MiB, on large pages (where the system has them) as in a kernel's "
              "direct map, all touched before. All are called",
              "through the same four function pointers, with size and alignment at the free, "
              "none is locked. `block-arena`",
              "and `block-freelist` are `block` over the one and the other; `arena-unsized` is "
              "freed without the size;",
              "`freelist` is the headerless half of `freelist` (`take`, `give`, `resize`).", "",
              "## Targets", ""]
    lines += reports.target_table(figures(results))
    lines += ["## Speed", "", "![operations per second](bench-arena-speed.png)", "",
              "In parentheses: relative to talc 5, median of the ratios of each round."
              f" {rounds} rounds" + (f", a quarter of them for {slow}" if slow else "") + ".", "",
              *speed_table(results),
              "Of seven actions one is a realloc (none in noreallocsmall), the others allocate or "
              "free a random block while the",
              "live set rises and falls between an eighth and seven eighths of 2048 blocks "
              "(mixed), 16384 (small), 1024",
              "(aligned). Sizes are log-uniform: 1 byte to 64 KiB, 8 to 512 bytes, 8 to 4096 "
              "bytes with alignments 16 to 4096;",
              "alignment is 8 elsewhere. The first and last byte of each block are written once. "
              "A slice is a fresh heap, 128 Ki",
              "actions that are not timed and 192 Ki that are, in CPU time of the thread.", "",
              "Blocks never freed, 8 to 512 bytes, behind the same calls:", "",
              *bump_table(results),
              "## Density", "", "![density](bench-arena-density.png)", "",
              "Bytes asked for at the first request that fails, mean of several seeds, every heap "
              "with the same requests.",
              "Churned: filled, a random half freed and filled again, four times; sizes 8 to 512 "
              "bytes and 1 byte to 64 KiB,",
              f"log-uniform. Smaller spans, for all, where some would take too long: "
              f"{small_spans}.", "", *density_table(results),
              "Largest block that can be had after the churn, once all is freed:", "",
              *largest_table(results),
              "## Latency", "", "![latency](bench-arena-latency.png)", "",
              f"Cycles of the time-stamp counter (in steps of {step} on the machine above) of each "
              "call by itself, less what",
              "`empty` takes. The same actions on a fresh heap do the same work, so each action's "
              "least time of several runs",
              "counts: interrupts are out, what a heap itself makes slow is in, the rarest of it "
              f"too. {samples:,} samples of", "alloc in mixed.", ""]
    for workload in SPEED:
        lines += latency_table(results, workload)
    lines += ["## Instructions", "",
              "Counted by valgrind's callgrind, per call, with all that is called: a loop of "
              "alloc(16) and free, and the first",
              "96 Ki actions of small.", "", *instruction_table(results)]
    return "\n".join(lines).rstrip() + "\n"


# ---- pictures ------------------------------------------------------------------

LOAM_COLORS = {"arena": "#0b5394", "block-arena": "#3d85c6", "block-freelist": "#6fa8dc",
               "freelist": "#9fc5e8"}
PEER_COLORS = {"talc5": "#783f04", "talc4": "#b45f06", "rlsf": "#e69138", "dlmalloc": "#f6b26b",
               "galloc": "#bf9000", "buddy": "#999999", "lla": "#cccccc"}
COLORS = {**LOAM_COLORS, **PEER_COLORS}


def bars(axes, groups, heaps, value):
    reports.grouped_bars(axes, groups, heaps, value, COLORS)
    reports.plain(axes)


def pictures(results, directory):
    pyplot = reports.pyplot_for("bench-arena")
    heaps = [heap for heap in results.heaps if heap in COLORS]

    figure, axes = pyplot.subplots(figsize=(11, 4))
    bars(axes, SPEED, heaps, results.speed)
    axes.set_ylabel("million operations per second")
    axes.legend(ncol=1, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    reports.save(figure, directory / "bench-arena-speed")

    figure, axes = pyplot.subplots(figsize=(13, 4))
    bars(axes, list(results.mixes), heaps, lambda mix, heap: results.live[mix, heap])
    axes.set_ylabel("bytes live at the first failure, % of the span")
    axes.set_ylim(30, 100)
    axes.legend(ncol=1, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    reports.save(figure, directory / "bench-arena-density")

    figure, all_axes = pyplot.subplots(1, len(OPERATIONS), figsize=(13, 4), sharey=True)
    for axes, operation in zip(all_axes, OPERATIONS):
        for heap in heaps:
            row = results.cycles["mixed", operation, heap]
            axes.plot(PERCENTILES, [max(int(row[p]), 10) for p in PERCENTILES], marker="o",
                      markersize=3, label=heap, color=COLORS[heap])
        axes.set_yscale("log")
        axes.set_title(f"{operation}, mixed", fontsize=10)
        axes.set_xticks(range(len(PERCENTILES)), ["p50", "p99", "p99.99", "max"])
        reports.plain(axes)
    all_axes[0].set_ylabel("cycles")
    all_axes[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    reports.save(figure, directory / "bench-arena-latency")


if __name__ == "__main__":
    reports.report("bench-arena", sys.modules[__name__])
