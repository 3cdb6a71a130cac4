"""What the reports of all benchmarks have in common.

A report runs a benchmark, reads its raw numbers, and writes tables and pictures. A
figure is (name, value as text, target, is it met?).
"""
import argparse
import csv
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent
SYSTEM_PYTHON = "/usr/bin/python3"  # has what the system's packages bring


# ---- running -------------------------------------------------------------------

def run(folder, command):
    """Run a benchmark whose raw numbers go below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    print("  " + " ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, check=True)


def read_arguments(options):
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True, help="the program")
    parser.add_argument("--raw", required=True, type=pathlib.Path, help="where raw numbers go")
    parser.add_argument("--docs", type=pathlib.Path, help="where tables and pictures go")
    parser.add_argument("--cargo", default="cargo", help="that built the peers")
    for option, help_text in options.items():
        parser.add_argument(option, help=help_text)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--no-run", action="store_true", help="take the raw numbers that are there")
    arguments = parser.parse_args()
    if arguments.docs and importlib.util.find_spec("matplotlib") is None:
        if sys.executable == SYSTEM_PYTHON:
            raise SystemExit("report.py: no matplotlib; tools/deps.sh bench installs it")
        os.execv(SYSTEM_PYTHON, [SYSTEM_PYTHON, *sys.argv])
    return arguments


def report(name, report_of, options=()):
    """All of it. @param report_of module with run_bench(arguments), Results(raw),
    figures(results), document(arguments, results) and pictures(results, folder)"""
    arguments = read_arguments(dict(options))
    if not arguments.no_run:
        report_of.run_bench(arguments)
    results = report_of.Results(arguments.raw)
    if arguments.docs:
        (arguments.docs / f"{name}.md").write_text(report_of.document(arguments, results),
                                                   encoding="utf-8")
        report_of.pictures(results, arguments.docs)
    for figure, value, target, met in report_of.figures(results):
        print(f"figure {figure} {value} {target} {'met' if met else 'short'}")


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---- figures -------------------------------------------------------------------

def figure_of(name, value, target, digits=3):
    limit = float(target[2:])
    met = value >= limit if target.startswith(">=") else value <= limit
    return name, f"{value:.{digits}f}", target, met


# ---- tables --------------------------------------------------------------------

def first_line(command):
    try:
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, check=False)
    except FileNotFoundError:
        return "none"
    return found.stdout.splitlines()[0] if found.stdout else "none"


def machine(cargo, loam=", no link-time optimisation", peers=', `panic = "abort"`'):
    """Lines about the machine, and what built the two sides: @p loam and @p peers end them."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = re.findall(r"^model name\s*:\s*(.*)$", info.read(), re.MULTILINE)
    rustc = pathlib.Path(cargo).with_name("rustc") if "/" in cargo else "rustc"
    facts = [f"CPU: {models[0] if models else 'unknown'}, {os.cpu_count()} cores online",
             f"System: {' '.join(os.uname()[i] for i in (0, 2, 4))}",
             f"Loam: {first_line([os.environ.get('CC', 'gcc'), '--version'])}, `-O2` and a "
             f"kernel's flags, checks as they are by default{loam}",
             f"Peers: {first_line([str(rustc), '--version'])}, `opt-level = 3`, `lto`{peers}"]
    return [f"- {fact}" for fact in facts]


def version(folder, crate, start=""):
    """Of a crate in a folder's Cargo.lock; the one that starts so."""
    lock = (BENCH / folder / "Cargo.lock").read_text(encoding="utf-8")
    found = re.findall(rf'^name = "{crate}"\nversion = "(.*)"$', lock, re.MULTILINE)
    return next(number for number in found if number.startswith(start))


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def target_table(figures):
    return table(["figure", "value", "target", ""],
                 [[name, value, target, "met" if met else "**short**"]
                  for name, value, target, met in figures])


# ---- pictures ------------------------------------------------------------------

def pyplot_for(name):
    """matplotlib's pyplot, drawing to files, the same one each time."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    matplotlib.rcParams["svg.hashsalt"] = name
    return pyplot


def save(figure, path):
    for kind, options in (("png", {"dpi": 110}), ("svg", {"metadata": {"Date": None}})):
        figure.savefig(path.with_suffix("." + kind), bbox_inches="tight", **options)


def plain(axes, which="major"):
    """Grid lines behind what is drawn, and no box around it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", which=which, color="#dddddd")


def grouped_bars(axes, groups, names, value, colors):
    """A bar of each name in each group."""
    width = 0.9 / len(names)
    for i, name in enumerate(names):
        places = [g + (i - (len(names) - 1) / 2) * width for g in range(len(groups))]
        axes.bar(places, [value(group, name) for group in groups], width, label=name,
                 color=colors[name])
    axes.set_xticks(range(len(groups)), groups)


def target_lines(axes, groups, targets):
    """Across the bars of each group that has a target."""
    for place, group in enumerate(groups):
        if group in targets:
            axes.plot([place - 0.45, place + 0.45], [targets[group]] * 2, linestyle=":",
                      color="#cc0000", label="target" if place == 0 else None)
