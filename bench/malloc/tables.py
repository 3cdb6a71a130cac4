"""docs/bench-malloc.md and its pictures."""
import datetime
import math
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import pairs  # noqa: E402
import reports  # noqa: E402
from results import GROUPS, PEERS  # noqa: E402

HEADS = {"all": "all", "single": "1 thread", "application": "applications",
         "threads": "2-4 threads"}
# DESIGN's last table: geometric means of its programs, relative to its mimalloc 2.
TARGETS = {"time": dict(zip(GROUPS, [0.88, 0.82, 0.91, 0.94])),
           "memory": dict(zip(GROUPS, [0.65, 0.62, 0.90, 0.58]))}
HARDENED = {"time": 1.25, "memory": 0.86}
WORST = 1.25  # times the best peer
PACKAGES = {"glibc": "libc6", "mimalloc2": "libmimalloc2.0", "jemalloc": "libjemalloc2",
            "tcmalloc": "libtcmalloc-minimal4"}
PROGRAMS = ["python3", "sqlite3", "git", "perl", "gcc", "lua5.4", "jq", "libxml2-utils",
            "redis-server", "nginx"]
# And what the sources in the crate call themselves.
CRATES = {"mimalloc3": ("libmimalloc-sys", "mimalloc 3.3.2"),
          "snmalloc": ("snmalloc-sys", "snmalloc of the same release"),
          "rpmalloc": ("rpmalloc-sys", "rpmalloc 1.4.3 with later changes; upstream is newer"),
          "hardened": ("hardened-malloc-sys", "hardened_malloc of that date"),
          "hardened-light": ("hardened-malloc-sys", "its light configuration")}
COMPILER = os.environ.get("CC", "gcc").split()
COLORS = {"loam": "#0b5394", "loam-hardened": "#6fa8dc", "glibc": "#000000",
          "mimalloc2": "#b45f06", "mimalloc3": "#f6b26b", "snmalloc": "#38761d",
          "rpmalloc": "#93c47d", "jemalloc": "#990000", "tcmalloc": "#8e7cc3"}
WHAT = """\
- tight: 16 bytes made and freed; batches: many small blocks, then freed in another order; zeroed:
  `calloc()` of 8 bytes to 32 KiB; churn: a table of blocks of 8 to 1024 bytes, one of them
  replaced at a time (as alloc-test); bignum: Pollard's rho on numbers that are new for each step
  (as cfrac); cubes: prime implicants (as espresso); index: a search tree of strings; mix: many
  small blocks, fewer large ones, freed from both ends (as sh6); vectors: arrays that double or
  grow by half; grow: arrays that grow to 24 MiB by steps and shrink; large: blocks of 64 KiB to 4
  MiB; phases: sizes that change while a few blocks stay for good, then half a second with little
  to do
- churn2: churn in two threads; larson: tables of blocks that are left to a new thread; producers:
  two make, two free (as xmalloc); ring: each frees its neighbour's; scratch and thrash: two
  threads that write to blocks of 8 bytes, which must not share a cache line; mstress: blocks
  exchanged between changing threads; rptest: sizes up to 16000, half of them freed by whoever
  comes next; sh8: a mix of sizes, a quarter freed by another thread; spawn: threads that live for
  400 blocks
- python: JSON, patterns, tables, circular garbage; python-malloc: the same without Python's own
  small blocks (`PYTHONMALLOC=malloc`); sqlite: a database in memory; git: log, diff, blame, grep,
  pack, fsck of 400 commits; perl, lua: tables and strings; gcc: this library compiled; jq,
  xmllint: one large file; redis: the server's time for requests of nine kinds by redis-benchmark;
  nginx: the server's time for 8250 connections of ab"""


# ---- the parts of the document ---------------------------------------------------

def number(value, digits=2):
    return "-" if value is None or math.isinf(value) else f"{value:.{digits}f}"


def packaged(package):
    return reports.first_line(["dpkg-query", "-W", "-f", "${Version}\n", package])


def about(arguments, results):
    lines = reports.machine(arguments.cargo)[:2]
    lines.append(f"- Loam: {reports.first_line([*COMPILER, '--version'])}, `libloam.so`")
    for name, package in PACKAGES.items():
        lines.append(f"- `{name}`: Debian's {package} {packaged(package)}")
    for name, (crate, inside) in CRATES.items():
        lines.append(f"- `{name}`: crate {crate} {reports.version('peers-malloc', crate)}, "
                     f"{inside}")
    lines.append("- `empty` never frees: what the programs cost, and fresh memory; not run where "
                 "that is more than 6 GiB")
    lines = [line for line in lines if "`" not in line or line.split("`")[1] in
             [*results.libraries, "libloam.so"]]
    return lines + ["- programs: " + ", ".join(f"{name} {packaged(name)}" for name in PROGRAMS)]


def means_table(results):
    rows = []
    for library in results.libraries:
        cells = [f"{number(results.mean(what, library, group))}"
                 for what in ("time", "memory") for group in GROUPS]
        rows.append([f"`{library}`", *cells])
    rows.append(["target", *(f"{TARGETS[what][group]:.2f}" for what in ("time", "memory")
                             for group in GROUPS)])
    return reports.table(["", *(f"{what}: {HEADS[group]}" for what in ("time", "memory")
                                for group in GROUPS)], rows)


def program_table(results, what):
    """Ratios; the best of Loam and its peers in bold."""
    rows = []
    for program in results.programs():
        ratios = {name: results.ratio(what, program, name) for name in results.libraries}
        usual = [ratios[name] for name in ratios if ratios[name] and name in ["loam", *PEERS]]
        cells = [f"**{number(ratio)}**" if ratio and name in ["loam", *PEERS]
                 and ratio <= min(usual) else number(ratio) for name, ratio in ratios.items()]
        base = results.median(what, program, results.base)
        told = "-" if base is None else f"{base:.2f} s" if what == "time" else f"{base:.0f} KiB"
        rows.append([program, *cells, told])
    return reports.table([what, *results.libraries, results.base], rows)


def worst_table(results):
    memory = {program: (ratio, peer) for program, ratio, peer in results.worst("memory")}
    rows = [[program, number(ratio), peer, "" if ratio <= WORST else "**short**",
             number(memory[program][0]), memory[program][1]]
            for program, ratio, peer in results.worst("time")]
    return reports.table(["program", "time", "best peer", "", "memory", "best peer"], rows)


def idle_table(results):
    rows = [[f"`{name}`", f"{results.median('memory', 'phases', name) / 1024:.1f}",
             f"{results.median('idle', 'phases', name) / 1024:.1f}"]
            for name in results.libraries if results.median("idle", "phases", name)]
    return reports.table(["phases, MiB", "at its peak", "when idle"], rows)


def pairs_table(results):
    rows = [[row["name"], row["tight"], row["random"], row["malloc"], row["free"]]
            for row in pairs.rows_of(results.raw)]
    return reports.table(["", "cycles, tight", "cycles, random order", "instructions, malloc",
                          "instructions, free"], rows)


# ---- figures ---------------------------------------------------------------------

def figures(results):
    if not results.is_whole():
        return []
    found = []
    for what, targets in TARGETS.items():
        for group, target in targets.items():
            value = results.mean(what, "loam", group)
            found.append((f"malloc.{what}.{group}", value, f"<={target}"))
        found.append((f"malloc.{what}.all.vs_best_peer", results.versus_best(what), "<=1"))
    worst = max((ratio for _, ratio, _ in results.worst("time")), default=math.inf)
    found.append(("malloc.time.worst_program", worst, f"<={WORST}"))
    if "loam-hardened" in results.libraries:
        found += [(f"malloc.hardened.{what}", results.mean(what, "loam-hardened", "all"),
                   f"<={target}") for what, target in HARDENED.items()]
    return [reports.figure_of(*figure) for figure in found] + pairs.figures(results.raw)


# ---- the document ----------------------------------------------------------------

def document(arguments, results):
    lines = ["# Loam's malloc and its peers", "",
             f"Written by `make bench-malloc` on {datetime.date.today().isoformat()}: one run, in "
             f"which all take turns, rounds: {results.rounds}; medians.",
             "Numbers of different runs are not to be compared, ratios are.", ""]
    lines += about(arguments, results)
    lines += ["", "Each library is preloaded (`LD_PRELOAD`) into the same programs, glibc's too. "
              "Where a program has threads, time is that of",
              "the clock, else user and system time, of a server its own. Memory is the largest "
              "resident set of a process. All",
              f"ratios are to `{results.base}`: the median of the ratios of each round. Outputs "
              "are compared between the libraries.", ""]
    lines += [f"- {line}" for line in results.wrong()] or ["All outputs are alike."]
    lines += ["", "## Targets", "", *reports.target_table(figures(results))]
    lines += ["Targets are those of DESIGN's table, which was measured with other programs. "
              "`vs_best_peer`: Loam's mean by the least of",
              "its peers', the hardened ones left out; `worst_program`: the worst of Loam's times "
              "by the best peer's, of all programs.", "",
              "## Means", "", "Geometric, of the ratios below. A program that failed on a library "
              "is left out of its mean.", "", "![means](bench-malloc-means.png)", ""]
    lines += means_table(results)
    lines += ["## Programs", "", WHAT, "", "![programs](bench-malloc-programs.png)", ""]
    lines += program_table(results, "time") + program_table(results, "memory")
    if "loam" in results.libraries:
        lines += ["## Loam by the best peer of each program", "", *worst_table(results)]
    lines += ["## After a long run", "", *idle_table(results)]
    lines += ["## One block of 16 bytes", "",
              "Made and freed; a thousand blocks made, then freed in random order. Cycles are the "
              "processor's, with the loop and the calls,",
              "which alone are `calls alone`; the least of 400 windows, median of nine runs. "
              "`bare list`: a list of free blocks, popped and",
              "pushed in functions that are called. Instructions as callgrind counts them, from "
              "the call (with what the dynamic linker has",
              "put between) to the return; none where a library does not run under it.", "",
              *pairs_table(results)]
    return "\n".join(lines).rstrip() + "\n"


# ---- pictures --------------------------------------------------------------------

def shown(results):
    return [name for name in results.libraries if name in COLORS]


def drawn(value):
    """Nothing where there is none."""
    return math.nan if math.isinf(value) else value


def draw_means(pyplot, results, folder):
    figure, both = pyplot.subplots(1, 2, figsize=(13, 4))
    for axes, what in zip(both, ("time", "memory")):
        reports.grouped_bars(axes, GROUPS, shown(results),
                             lambda group, name, of=what: drawn(results.mean(of, name, group)),
                             COLORS)
        reports.target_lines(axes, GROUPS, TARGETS[what])
        axes.set_xticks(range(len(GROUPS)), [HEADS[group] for group in GROUPS])
        axes.set_ylabel(f"{what}, times {results.base}")
        reports.plain(axes)
    both[1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    reports.save(figure, folder / "bench-malloc-means")


def draw_programs(pyplot, results, folder):
    programs = results.programs()
    figure, both = pyplot.subplots(2, 1, figsize=(13, 8), sharex=True)
    for axes, what in zip(both, ("time", "memory")):
        for name in shown(results):
            points = [(place, results.ratio(what, program, name))
                      for place, program in enumerate(programs)]
            points = [point for point in points if point[1]]
            axes.plot([x for x, _ in points], [y for _, y in points], linestyle="none",
                      marker="D" if name == "loam" else "o", markersize=7 if name == "loam" else 4,
                      label=name, color=COLORS[name], zorder=3 if name == "loam" else 2)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylabel(f"{what}, times {results.base}")
        reports.plain(axes)
    both[1].set_xticks(range(len(programs)), programs, rotation=60, ha="right", fontsize=8)
    both[0].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    reports.save(figure, folder / "bench-malloc-programs")


def pictures(results, folder):
    pyplot = reports.pyplot_for("bench-malloc")
    draw_means(pyplot, results, folder)
    draw_programs(pyplot, results, folder)
