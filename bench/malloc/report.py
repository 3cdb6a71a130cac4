#!/usr/bin/env python3
"""report.py - run programs on Loam's malloc and on its peers', tell what it found.

    report.py --bench FOLDER --raw FILE [--loam FILE] [--docs FOLDER] [--short]
              [--only PROGRAM,...] [--libraries NAME,...] [--rounds N] [--no-run]

Raw numbers go to the file --raw. With --docs FOLDER, tables and pictures are written
there: bench-malloc.md and bench-malloc-*.png and .svg; without it a table of ratios is
printed. A library is one of LIBRARIES below or NAME=FILE; the first that is not Loam's is
what others are compared with, unless mimalloc 2 is among them. --only takes groups too:
single, threads, application. Ends with a line `figure NAME VALUE TARGET met|short` for
every target.
"""
import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import applications  # noqa: E402
import pairs  # noqa: E402
import reports  # noqa: E402
from results import GROUPS, Results  # noqa: E402
from tables import document, figures, pictures  # noqa: E402, F401

DEBIAN = [pathlib.Path("/usr/lib/x86_64-linux-gnu"), pathlib.Path("/usr/lib64")]
# Where each is: in a folder of the system, or where this project builds. glibc too is
# preloaded: a program may be linked with another malloc.
LIBRARIES = {"loam": None, "glibc": "libc.so.6", "mimalloc2": "libmimalloc.so.2.0",
             "mimalloc3": "libmimalloc3.so", "snmalloc": "libsnmalloc.so",
             "rpmalloc": "librpmalloc.so", "jemalloc": "libjemalloc.so.2",
             "tcmalloc": "libtcmalloc_minimal.so.4", "loam-hardened": None,
             "hardened": "libhardened.so", "hardened-light": "libhardened-light.so",
             "empty": "libempty.so"}
EXTRAS = ["loam-hardened", "hardened", "hardened-light", "empty"]  # fewer rounds
ROUNDS = 4
EXTRA_ROUNDS = 1
SHORT_ROUNDS = 1
EMPTY_MIB = 6 << 10  # what never frees may have so much
RUN_SECONDS = 120


# ---- libraries -------------------------------------------------------------------

def library_file(arguments, name):
    """Where a library is, or None where it is not."""
    folder = pathlib.Path(arguments.bench)
    if name == "loam":
        places = [pathlib.Path(arguments.loam)]
    elif name == "loam-hardened":
        places = [pathlib.Path(arguments.loam).with_name("libloam-hardened.so")]
    else:
        places = [place / LIBRARIES[name] for place in [folder, *DEBIAN]]
    return next((place.resolve() for place in places if place.exists()), None)


def libraries(arguments):
    """{name: file} of those wanted that there are."""
    found = {}
    short = [name for name in LIBRARIES if name not in EXTRAS]
    wanted = arguments.libraries.split(",") if arguments.libraries else None
    for name in wanted or (short if arguments.short else LIBRARIES):
        name, _, path = name.partition("=")
        if not path and name not in LIBRARIES:
            raise SystemExit(f"report.py: no library {name}; {' '.join(LIBRARIES)}, or NAME=FILE")
        file = pathlib.Path(path).resolve() if path else library_file(arguments, name)
        if file is None or not file.exists():
            if wanted:
                raise SystemExit(f"report.py: {name} is not built, or not installed")
            print(f"  no {name}", file=sys.stderr, flush=True)
            continue
        found[name] = file
    return found


# ---- running ---------------------------------------------------------------------

def wanted_programs(arguments):
    work = pathlib.Path(arguments.bench).resolve() / "work"
    applications.make_work(work)
    programs = applications.own(pathlib.Path(arguments.bench).resolve() / "programs")
    programs += applications.real(work)
    if not arguments.only:
        return programs
    wanted = arguments.only.split(",")
    known = {program.name for program in programs} | {program.kind for program in programs}
    if not known.issuperset(wanted):
        raise SystemExit(f"report.py: no such program; there are {' '.join(sorted(known))}")
    return [program for program in programs if program.name in wanted or program.kind in wanted]


def run_once(arguments, program, name, library):
    """(wall, user, system, KiB, KiB when idle or '', checksum); None: it failed"""
    folder = pathlib.Path(arguments.bench).resolve()
    output = arguments.raw.resolve().with_name(arguments.raw.name + "-output")
    limit = ["--memory", str(EMPTY_MIB)] if name == "empty" else []
    command = [str(folder / "run"), "--preload", str(library), *limit, "--output", str(output),
               *program.command]
    answer = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL if name == "empty" else None,
                          env={**os.environ, **program.environment}) as run:
        try:
            if program.client is not None and applications.wait_for(program.port, run):
                answer = program.client(program.port)
                run.terminate()
            told, _ = run.communicate(timeout=RUN_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            run.send_signal(signal.SIGINT)
            told = ""
            print(f"  {program.name} on {name}: {error}", file=sys.stderr, flush=True)
    *numbers, status = told.split() or ["1"]
    if status != "0" or (program.client is not None and not answer):
        return None
    idle = [line.split()[1] for line in output.read_text(encoding="utf-8", errors="replace")
            .splitlines()[:1] if line.startswith("idle ")]
    return [*numbers, *(idle or [""]),
            applications.checksum(output, answer if program.client else None)]


def rounds_of(arguments):
    if arguments.rounds:
        return int(arguments.rounds)
    return SHORT_ROUNDS if arguments.short else ROUNDS


def run_round(arguments, number, found, programs, rows):
    """Every program on every library, these in another order each time."""
    start = time.monotonic()
    names = [name for name in found if name not in EXTRAS or number < EXTRA_ROUNDS
             or arguments.libraries]
    for place, program in enumerate(programs):
        turn = (number + place) % len(names)
        for name in names[turn:] + names[:turn]:
            result = run_once(arguments, program, name, found[name])
            rows.writerow([number, program.name, program.kind, name, *(result or ["failed"])])
            if result is None:
                print(f"  {program.name} failed on {name}", file=sys.stderr, flush=True)
        print(f"  round {number + 1} of {rounds_of(arguments)}, {time.monotonic() - start:4.0f} s: "
              f"{program.name}", file=sys.stderr, flush=True)


def run_bench(arguments):
    found = libraries(arguments)
    programs = wanted_programs(arguments)
    arguments.raw.parent.mkdir(parents=True, exist_ok=True)
    with open(arguments.raw, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["round", "program", "kind", "library", "wall", "user", "system", "kib",
                       "idle_kib", "checksum"])
        for number in range(rounds_of(arguments)):
            run_round(arguments, number, found, programs, rows)
            file.flush()
    if not arguments.only:
        pairs.measure(arguments, found)
    if not arguments.docs:
        print_table(Results(arguments.raw))


# ---- words -----------------------------------------------------------------------

def cells_of(values, width):
    return "".join(f"{'-':>{width}}" if value is None else f"{value:{width}.3f}"
                   for value in values)


def print_table(results):
    """For people who tune: ratios to the base, and what that took."""
    names = results.libraries
    width = max(10, *(len(name) + 2 for name in names))
    for what, unit in (("time", "s"), ("memory", "KiB")):
        print(f"\n{what + ', times':16}" + "".join(f"{name:>{width}}" for name in names)
              + f"   {results.base}, {unit}")
        for program in results.programs():
            base = results.median(what, program, results.base)
            print(f"{program:16}"
                  + cells_of([results.ratio(what, program, name) for name in names], width)
                  + f"   {'-' if base is None else format(base, '.3f')}")
        for group in GROUPS:
            if results.programs(group):
                print(f"{'= ' + group:16}"
                      + cells_of([results.mean(what, name, group) for name in names], width))
    print("".join(f"\nWRONG: {line}" for line in results.wrong()), flush=True)


OPTIONS = {"--loam": "Loam's library", "--only": "programs or groups of them, a,b,c",
           "--libraries": "names, or NAME=FILE, a,b,c", "--rounds": "how many"}

if __name__ == "__main__":
    reports.report("bench-malloc", sys.modules[__name__], OPTIONS)
