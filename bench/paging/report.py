#!/usr/bin/env python3
"""report.py - run bench-paging, tell what it found.

Raw numbers go to the file --raw. With --docs DIRECTORY, tables and pictures are
written there: bench-paging.md, bench-paging.png and .svg. --short is for figures only
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

PEERS = ["loam", "x86_64", "multiarch", "limit", "empty"]
OPERATIONS = ["map_4k", "scattered", "protect", "unmap", "jobs", "map_2m", "translate",
              "translate_64g"]
HEADS = {"map_4k": "map 1 GiB in 4K", "map_2m": "map 256 GiB in 2M", "jobs": "unmap scattered",
         "translate": "translate, 1 GiB", "translate_64g": "translate, 64 GiB"}
# DESIGN's table, ns, of another program: the target, and what the limit and the better
# crate took beside it.
TARGETS = {"map_4k": (0.35, 0.28, 3.8), "scattered": (14, 2.0, 16), "protect": (0.6, 0.36, 2.6),
           "unmap": (0.6, 0.41, 2.5), "map_2m": (0.8, 0.30, 3.8), "translate": (4.2, 1.7, 4.3),
           "translate_64g": (32, 11.5, 33)}
RANGES = ["map_4k", "protect", "unmap", "map_2m"]  # one call for all pages
COLORS = {"loam": "#0b5394", "x86_64": "#b45f06", "multiarch": "#f6b26b", "limit": "#000000",
          "empty": "#bbbbbb"}


# ---- running -------------------------------------------------------------------

def run_bench(arguments):
    rounds = "9" if arguments.short else "25"
    reports.run(arguments.raw.parent,
                [arguments.bench, "--out", str(arguments.raw), "--rounds", rounds])


# ---- reading -------------------------------------------------------------------

class Results:
    """All raw numbers, by operation and peer."""

    def __init__(self, raw):
        self.ns = collections.defaultdict(dict)  # {round: ns for a page}
        self.flushes = {}  # for 1000 unmaps, by peer: the same in every round
        self.shootdowns = {}  # (flushes, IPIs) for 1000 unmaps of Loam on 4 CPUs
        for row in reports.rows_of(raw):
            if row["operation"].startswith("shootdown"):
                self.shootdowns[row["operation"]] = float(row["flushes"]), float(row["ns"])
                continue
            self.ns[row["operation"], row["peer"]][row["round"]] = float(row["ns"])
            if row["operation"] == "jobs":
                self.flushes[row["peer"]] = float(row["flushes"])

    def median(self, operation, peer):
        return statistics.median(self.ns[operation, peer].values())

    def net(self, operation, peer):
        """{round: ns less what the benchmark itself costs}"""
        empty = self.median(operation, "empty")
        return {number: ns - empty for number, ns in self.ns[operation, peer].items()}

    def net_median(self, operation, peer):
        return statistics.median(self.net(operation, peer).values())

    def ratio(self, operation, peer, base):
        """Median of the ratios of each round, of net times."""
        other = self.net(operation, base)
        return statistics.median(ns / other[number]
                                 for number, ns in self.net(operation, peer).items())


def figures(results):
    found = [(f"paging.{name}", results.net_median(name, "loam"), f"<={target}")
             for name, (target, _, _) in TARGETS.items()]
    found += [(f"paging.{name}.vs_limit", results.ratio(name, "loam", "limit"),
               f"<={target / limit:.2f}") for name, (target, limit, _) in TARGETS.items()
              if name in RANGES]
    found += [(f"paging.{name}.vs_multiarch", results.ratio(name, "loam", "multiarch"),
               f"<={target / crate:.3f}") for name, (target, _, crate) in TARGETS.items()]
    flushes, ipis = results.shootdowns["shootdown_batch"]
    found += [("paging.unmap_1000.flushes", flushes, "<=1"),
              ("paging.unmap_1000.ipis", ipis, "<=3")]
    return [reports.figure_of(*figure) for figure in found]


# ---- tables --------------------------------------------------------------------

def speed_table(results):
    rows = []
    for peer in PEERS:
        cells = []
        for operation in OPERATIONS:
            cell = f"{results.median(operation, peer):.2f}"
            if peer not in ("multiarch", "limit", "empty"):
                cell += f" ({results.ratio(operation, peer, 'multiarch'):.2f})"
            cells.append(cell)
        rows.append([f"`{peer}`", *cells])
    rows.append(["target", *(str(TARGETS[o][0]) if o in TARGETS else "" for o in OPERATIONS)])
    return reports.table(["ns for a page", *(HEADS.get(o, o) for o in OPERATIONS)], rows)


def flush_table(results):
    return reports.table(["", "flushes for 1000 unmaps"],
                         [[f"`{peer}`", f"{results.flushes[peer]:g}"]
                          for peer in PEERS if peer not in ("limit", "empty")])


def shootdown_table(results):
    heads = {"shootdown_alone": "one by one", "shootdown_batch": "in one batch"}
    return reports.table(["1000 unmaps on one of 4 CPUs", "flushes", "CPUs asked"],
                         [[head, *(f"{count:g}" for count in results.shootdowns[name])]
                          for name, head in heads.items()])


def document(arguments, results):
    rounds = len(results.ns["map_4k", "loam"])
    x86_64 = reports.version("peers-paging", "x86_64")
    multiarch = reports.version("peers-paging", "page_table_multiarch")
    lines = ["# Page tables and their peers", "",
             f"Written by `make bench-paging` on {datetime.date.today().isoformat()}: one run, in "
             f"which all take turns, {rounds} rounds; medians.",
             "Numbers of different runs are not to be compared, ratios are.", ""]
    lines += reports.machine(arguments.cargo)
    lines += [f"- `x86_64`: x86_64 {x86_64}, `OffsetPageTable`, a loop of its calls "
              "for one page;",
              f"  `multiarch`: page_table_multiarch {multiarch}, "
              "`X64PageTable`, its calls for ranges",
              "- `limit`: stores of the same entries to tables that are there already, without a "
              "look at what they were",
              "- `empty` does nothing: what the benchmark itself costs", "",
              "All are called through the same function pointers, one thread, and have the same "
              "frames for tables: on large pages",
              "where the system has them, full of rubbish, all just written, so that caches are "
              "alike. No TLB is flushed, by nobody.",
              "Before the clock starts, the tables of each are read as a processor would, and "
              "compared with what was mapped and",
              "with what its own translation says.", "",
              "What Loam does beside: it takes a lock (with all but the two instructions that turn "
              "interrupts off and on, which a",
              "program may not use), looks at the whole range before it writes, changes entries so "
              "that no accessed or dirty bit",
              "is lost, and gives emptied tables back. The crates do none of this.", "",
              "## Targets", ""]
    lines += reports.target_table(figures(results))
    lines += ["All less what `empty` takes: the call through a pointer, which matters to scattered "
              "and translate. `vs_` are ratios,",
              "medians over the rounds; for those two the limit is hardly more than that call, so "
              "there is none. Targets are those of",
              "DESIGN's table, of another program.", "",
              "## Speed", "", "![nanoseconds for a page](bench-paging.png)", "",
              "With what `empty` takes. In parentheses, without it: times `multiarch`, median of "
              "the ratios of each round.", ""]
    lines += speed_table(results)
    lines += ["- map, protect, unmap: one call for the range, all in 4K but for map 2M; into "
              "empty tables, so those that are missing",
              "  are made in this time; protect takes the right to write away",
              "- scattered: the 4K pages of 1 GiB, one call each, in random order, into empty "
              "tables",
              "- unmap scattered: the same pages in another random order, in jobs of 1000",
              "- translate: addresses anywhere in so much memory, mapped in 4K", "",
              "## Flushes", "",
              "What one of those jobs asks for. Loam's are calls of `loam_port_tlb_flush()`, each "
              "of which reaches every CPU; the",
              "crates flush the CPU they run on, and leave the others to their caller: `x86_64` "
              "after every page, `multiarch` once,",
              "everything, where there are more than 32 pages.", ""]
    lines += flush_table(results)
    lines += ["What Loam asks of the other CPUs, where it knows which are online: an "
              "interprocessor interrupt each.", ""]
    lines += shootdown_table(results)
    return "\n".join(lines).rstrip() + "\n"


def pictures(results, folder):
    pyplot = reports.pyplot_for("bench-paging")
    figure, axes = pyplot.subplots(figsize=(11, 4))
    reports.grouped_bars(axes, OPERATIONS, PEERS, results.median, COLORS)
    reports.target_lines(axes, OPERATIONS, {name: row[0] for name, row in TARGETS.items()})
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.1)
    axes.set_ylabel("ns for a page")
    axes.set_xticks(range(len(OPERATIONS)),
                    [HEADS.get(o, o).replace(" in ", "\nin ") for o in OPERATIONS], fontsize=8)
    reports.plain(axes)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    reports.save(figure, folder / "bench-paging")


if __name__ == "__main__":
    reports.report("bench-paging", sys.modules[__name__])
