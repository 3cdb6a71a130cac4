"""Cycles and instructions of one malloc(16) and its free()."""
import csv
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reports  # noqa: E402

RUNS = 9
COUNTED = (2000, 12000)  # pairs; the difference is what is told
# DESIGN's targets, in cycles.
SHARED = 22
LINKED = {"tight": 12.5, "random": 14}
INLINED = {"tight": 6, "random": 10}
# Programs from bench/malloc/pairs.c, each built with a header of its own.
PROGRAMS = {"bare list": "pairs-bare", "calls alone": "pairs-nothing",
            "loam, linked in": "pairs-loam", "loam, inlined": "pairs-inlined"}
SKIPPED = ["empty"]


def path_of(raw):
    """Beside the raw numbers of the programs."""
    return raw.with_name(raw.name + "-pairs")


def cycles(program, environment):
    """(tight, random): medians of the runs' least"""
    runs = []
    for _ in range(RUNS):
        told = subprocess.run([program, "cycles"], check=True, text=True, stdout=subprocess.PIPE,
                              env=environment).stdout
        runs.append([float(number) for number in told.split()])
    return [f"{statistics.median(column):.2f}" for column in zip(*runs)]


def collected(program, environment, function, count):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
               f"--toggle-collect={function}", program, "count", str(count)]
    told = subprocess.run(command, check=True, text=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, env=environment).stderr
    return int(re.search(r"Collected : (\d+)", told).group(1))


def instructions(program, environment):
    """(malloc, free): with the few of the function around each; None: it does not run there"""
    few, many = COUNTED
    try:
        return [(collected(program, environment, function, many)
                 - collected(program, environment, function, few)) / (many - few)
                for function in ("pairs_take", "pairs_give")]
    except subprocess.CalledProcessError:
        return None


def measure(arguments, libraries):
    """Write a row for each library, and for each program that is built."""
    folder = pathlib.Path(arguments.bench).resolve()
    rows = [(name, folder / "pairs-malloc", str(file)) for name, file in libraries.items()
            if name not in SKIPPED]
    rows += [(name, folder / program, "") for name, program in PROGRAMS.items()
             if (folder / program).exists()]
    around = instructions(folder / "pairs-nothing", dict(os.environ))
    with open(path_of(arguments.raw), "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["name", "tight", "random", "malloc", "free"])
        for name, program, preload in rows:
            print(f"  pairs: {name}", file=sys.stderr, flush=True)
            environment = {**os.environ, "LD_PRELOAD": preload}
            counts = None if arguments.short else instructions(program, environment)
            # The one that only returns has an instruction itself.
            told = [f"{own - other + 1:.1f}" for own, other in zip(counts or [], around)]
            out.writerow([name, *cycles(program, environment), *(told or ["", ""])])


def rows_of(raw):
    path = path_of(raw)
    return reports.rows_of(path) if path.exists() else []


def figures(raw):
    rows = {row["name"]: row for row in rows_of(raw)}
    if not rows:
        return []
    found = [("malloc.cycles.shared", float(rows["loam"]["tight"]) if "loam" in rows else math.inf,
              f"<={SHARED}")]
    for name, targets in (("linked in", LINKED), ("inlined", INLINED)):
        row = rows.get(f"loam, {name}")
        if row is not None:
            found += [(f"malloc.cycles.{name.split()[0]}.{column}", float(row[column]),
                       f"<={target}") for column, target in targets.items()]
    return [reports.figure_of(*figure, digits=1) for figure in found]
