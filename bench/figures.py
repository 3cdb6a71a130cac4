#!/usr/bin/env python3
"""figures.py FILE COMMAND... - run benchmarks, write what they found to FILE.

A benchmark prints what it likes and a line `figure NAME VALUE TARGET met|short`
for every target it has.
"""
import datetime
import os
import re
import subprocess
import sys

PATH = re.compile(r"(?<!\S)/\S*/([^/\s]+)")  # of this machine: nobody else's business
FIGURE = re.compile(r"^figure (\S+) (\S+) (\S+) (met|short)$", re.MULTILINE)


def first_line(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            check=False)
    return result.stdout.splitlines()[0] if result.stdout else "none"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = re.findall(r"^model name\s*:\s*(.*)$", info.read(), re.MULTILINE)
    with open("/proc/meminfo", encoding="utf-8") as info:
        kilobytes = int(re.search(r"MemTotal:\s*(\d+)", info.read()).group(1))
    return [f"CPU: {models[0] if models else 'unknown'}, {os.cpu_count()} cores online",
            f"Memory: {kilobytes / 2**20:.1f} GiB",
            f"System: {' '.join(os.uname()[i] for i in (0, 2, 4))}",
            f"Compiler: {first_line([os.environ.get('CC', 'gcc'), '--version'])}",
            f"QEMU: {first_line(['qemu-system-x86_64', '--version'])}"]


def main():
    path, commands = sys.argv[1], sys.argv[2:]
    outputs = []
    for command in commands:
        print(f"  {command}", flush=True)
        run = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=False)
        print(run.stdout, end="", flush=True)
        if run.returncode != 0 or not FIGURE.search(run.stdout):
            raise SystemExit(f"figures: no figure from: {command} (status {run.returncode})")
        outputs.append(run.stdout)

    today = datetime.date.today().isoformat()
    lines = ["# Figures", "", f"Written by `make figures` on {today}.", ""]
    lines += [f"- {fact}" for fact in machine()]
    lines += ["", "| figure | value | target | |", "|---|---|---|---|"]
    for output in outputs:
        lines += [f"| {name} | {value} | {target} | {verdict} |"
                  for name, value, target, verdict in FIGURE.findall(output)]
    for command, output in zip(commands, outputs):
        shown = PATH.sub(r"\1", command)
        lines += ["", f"`{shown}`", "", "```",
                  *(line.rstrip() for line in output.rstrip().splitlines()), "```"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
