#!/usr/bin/env python3
"""boot_time.py - seconds from starting QEMU to the kernel's first line.

Machines take turns, so that a slow minute of the host falls on all alike. The
kernel's first line is the first one on the serial port that the shim did not
write (those start with "shim:").
"""
import argparse
import statistics
import subprocess
import time

MACHINES = [("512M", 2), ("64M", 1), ("8G", 8)]  # the first one is what `make run` starts
RUN_SECONDS_MAX = 60


def first_line_seconds(arguments, memory, cpus):
    command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", memory,
               "-smp", str(cpus), "-display", "none", "-net", "none", "-no-reboot", "-monitor",
               "none", "-serial", "stdio", "-kernel", arguments.shim, "-initrd", arguments.kernel]
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as qemu:
        try:
            for line in qemu.stdout:
                took = time.monotonic() - start
                if line.strip() and not line.startswith(b"shim:"):
                    return took
                if took > RUN_SECONDS_MAX:
                    break
        finally:
            qemu.kill()
    raise SystemExit(f"boot_time: no line from the kernel with {memory}, {cpus} CPUs")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shim", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()

    seconds = {machine: [] for machine in MACHINES}
    for _ in range(arguments.runs):
        for machine in MACHINES:
            seconds[machine].append(first_line_seconds(arguments, *machine))
    print(f"{'machine':16} {'median':>8} {'min':>8} {'max':>8}   seconds, {arguments.runs} runs")
    for (memory, cpus), runs in seconds.items():
        print(f"{memory + ', ' + str(cpus) + ' CPU':16} {statistics.median(runs):8.3f} "
              f"{min(runs):8.3f} {max(runs):8.3f}")
    value = statistics.median(seconds[MACHINES[0]])
    print(f"figure boot.first_line_s {value:.3f} <=0.5 {'met' if value <= 0.5 else 'short'}")


if __name__ == "__main__":
    main()
