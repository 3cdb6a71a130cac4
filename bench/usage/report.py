#!/usr/bin/env python3
"""report.py - run bench-usage, tell what it found.

Raw numbers go to the file --raw. With --docs DIRECTORY, tables and pictures are
written there: bench-usage.md, bench-usage.png and .svg. --short is for figures only
and takes a fifth of the time. Ends with a line `figure NAME VALUE TARGET met|short`
for every target.
"""
import collections
import datetime
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reports  # noqa: E402

SIZES = [1000, 10000, 100000, 1000000]
# DESIGN's table, in ns, of another machine and another program: Loam's target and
# what nodit took beside it.
TARGETS = {"insert": ([43, 68, 96, 168], [52, 130, 181, 313]),
           "merge": ([27, 56, 77, 107], [201, 424, 553, 723]),
           "lookup": ([14, 17, 38, 165], [14, 56, 96, 309])}
OPERATIONS = ["insert", "merge", "lookup", "grow"]
MAPS = ["usage", "nodit", "rangemap"]
COLORS = {"usage": "#0b5394", "nodit": "#b45f06", "rangemap": "#f6b26b"}


def run_bench(arguments):
    rounds = "5" if arguments.short else "25"
    reports.run(arguments.raw.parent,
                [arguments.bench, "--out", str(arguments.raw), "--rounds", rounds])


def power(size):
    """1000 as 1e3."""
    return f"1e{len(str(size)) - 1}"


class Results:
    """All raw numbers, by operation, map and number of intervals."""

    def __init__(self, raw):
        self.ns = collections.defaultdict(dict)  # {round: ns}
        self.bytes = collections.defaultdict(list)  # by map and number
        for row in reports.rows_of(raw):
            size = int(row["intervals"])
            self.ns[row["operation"], row["map"], size][row["round"]] = float(row["ns"])
            self.bytes[row["map"], size].append(float(row["bytes"]))

    def median(self, operation, name, size):
        return statistics.median(self.ns[operation, name, size].values())

    def ratio(self, operation, name, size, base):
        """Median of the ratios of each round."""
        other = self.ns[operation, base, size]
        return statistics.median(ns / other[number]
                                 for number, ns in self.ns[operation, name, size].items())

    def memory(self, name, size):
        return statistics.median(self.bytes[name, size])


def figures(results):
    found = []
    for operation, (targets, nodits) in TARGETS.items():
        for size, target, nodit in zip(SIZES, targets, nodits):
            value = results.median(operation, "usage", size)
            found.append(reports.figure_of(f"usage.{operation}.{power(size)}", value,
                                           f"<={target}", digits=1))
        for size, target, nodit in zip(SIZES, targets, nodits):
            value = results.ratio(operation, "usage", size, "nodit")
            found.append(reports.figure_of(f"usage.{operation}.{power(size)}.vs_nodit", value,
                                           f"<={round(target / nodit, 3)}"))
    return found


# ---- tables --------------------------------------------------------------------

def operation_table(results, operation):
    rows = []
    for name in MAPS + ["empty"]:
        cells = []
        for size in SIZES:
            cell = f"{results.median(operation, name, size):.1f}"
            if name not in ("nodit", "empty"):
                cell += f" ({results.ratio(operation, name, size, 'nodit'):.3f})"
            cells.append(cell)
        rows.append([f"`{name}`", *cells])
    if operation in TARGETS:
        targets, nodits = TARGETS[operation]
        rows.append(["target", *(f"{t} ({t / n:.3f})" for t, n in zip(targets, nodits))])
    return reports.table([f"{operation}, ns", *map(power, SIZES)], rows)


def document(arguments, results):
    rounds = len(results.ns["insert", "usage", SIZES[0]])
    lines = ["# The interval map and its peers", "",
             f"Written by `make bench-usage` on {datetime.date.today().isoformat()}: one run, in "
             f"which all take turns, {rounds} rounds; medians.",
             "Numbers of different runs are not to be compared, ratios are. In parentheses: "
             "relative to nodit, median of", "the ratios of each round.", ""]
    peers = ", ".join(f"{crate} {reports.version('peers-usage', crate)}" for crate in MAPS[1:])
    lines += reports.machine(arguments.cargo, "", f": {peers}")
    lines += ["- `empty` does nothing: what the benchmark itself costs", "",
              "All are called through the same function pointers, one process, one thread, on "
              "large pages where the system has",
              "them. Loam's figures have its ticket lock in them, uncontended, with all but the "
              "two instructions that turn",
              "interrupts off and on, which a program may not use; the peers have no lock. Loam's "
              "map also keeps totals per",
              "owner and the largest gap and the largest usable interval of every subtree, for "
              "its searches.", "",
              "- insert: a map of so many intervals is built from nothing in random order, by "
              "strict inserts; rangemap has",
              "  only an insert that overwrites;",
              "- merge: as many touching intervals of one value, in random order, each merged "
              "with equal neighbours, until",
              "  one is left;",
              "- lookup: each interval of the first map, in random order;",
              "- grow: a page is merged with each interval of that map, in random order; there is "
              "no target.", "",
              "No order comes twice, so that branch predictors have nothing to learn. Targets are "
              "DESIGN's, of another program on",
              "another machine; in parentheses relative to what nodit took there. At 1e3 that was "
              "52 ns an insert and 14 ns a lookup,",
              "as where the same lookups are repeated: tried by hand, twenty times the same "
              "thousand take nodit 16 ns each, and `usage`,",
              "which does not branch in its search, 19 ns as ever.", "",
              "![nanoseconds of each operation](bench-usage.png)", ""]
    for operation in OPERATIONS:
        lines += operation_table(results, operation)
    lines += reports.table(["bytes an interval", *map(power, SIZES)],
                           [[f"`{name}`", *(f"{results.memory(name, size):.1f}" for size in SIZES)]
                            for name in MAPS])
    lines += ["Page frames that Loam's nodes lie in; for the peers what `malloc()` has given out. "
              "After the inserts in random order.", "", "## Targets", ""]
    lines += reports.target_table(figures(results))
    return "\n".join(lines).rstrip() + "\n"


def pictures(results, folder):
    pyplot = reports.pyplot_for("bench-usage")
    figure, all_axes = pyplot.subplots(1, len(OPERATIONS), figsize=(14, 3.8), sharey=True)
    for axes, operation in zip(all_axes, OPERATIONS):
        for name in MAPS:
            axes.plot(SIZES, [results.median(operation, name, size) for size in SIZES],
                      marker="o", markersize=4, label=name, color=COLORS[name])
        if operation in TARGETS:
            axes.plot(SIZES, TARGETS[operation][0], linestyle=":", color="#666666", label="target")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(operation, fontsize=10)
        axes.set_xlabel("intervals")
        reports.plain(axes, which="both")
    all_axes[0].set_ylabel("ns")
    all_axes[0].legend(fontsize=8, frameon=False)
    reports.save(figure, folder / "bench-usage")


if __name__ == "__main__":
    reports.report("bench-usage", sys.modules[__name__])
