#!/usr/bin/env python3
"""run.py - run test suites, a few at a time, and count.

    tests/run.py [--jobs N] [--make TARGETS] --suite NAME COMMAND ...

A suite is a shell command that prints one line per result, `ok ...` or
`not ok ...` (TAP; cmocka prints it too). It fails if a result does, if its exit
status is not 0, if it printed no result or fewer than its plan `1..N` promised,
or if it ran too long. Skipped results count as failed: no result is dropped.
Suites named boot/... start machines of several CPUs: they come last, one at a
time.

Prints a line per suite as it ends, the whole output of those that failed, and
last `N passed, N failed`. Exits with 1 if anything failed.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import threading
import time

BUILD_SECONDS_MAX = 900
SUITE_SECONDS_MAX = 400  # dozens of boots on a slow machine
RESULT = re.compile(r"(not )?ok\b(.*)")
PLAN = re.compile(r"1\.\.(\d+)\s*$")
SKIPPED = re.compile(r"#\s*skip", re.IGNORECASE)

printing = threading.Lock()


def say(text):
    with printing:
        print(text, flush=True)


def environment():
    env = dict(os.environ)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "LIMINE_DIR"):
        env.pop(name, None)  # a suite that runs make says what it wants
    env["CMOCKA_MESSAGE_OUTPUT"] = "TAP"
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    env.setdefault("TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1")
    return env


def run_command(command, seconds, env):
    """Exit status (None: killed after too long), output. The command is a
    session of its own, so that whatever it started ends with it."""
    with subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=env,
                          start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = None
    return status, output.decode(errors="replace")


def count(output):
    """Results in TAP output: passed, failed."""
    passed = failed = planned = 0
    for line in output.splitlines():
        result = RESULT.match(line)
        plan = PLAN.match(line)
        if plan:
            planned += int(plan.group(1))
        elif result and (result.group(1) or SKIPPED.search(result.group(2))):
            failed += 1
        elif result:
            passed += 1
    return passed, failed + max(0, planned - passed - failed)


def run_suite(name, command):
    start = time.monotonic()
    status, output = run_command(command, SUITE_SECONDS_MAX, environment())
    passed, failed = count(output)
    if failed == 0 and (status != 0 or passed == 0):
        failed = 1  # died after its last result, or ran nothing at all
    took = time.monotonic() - start
    verdict = "FAIL" if failed else "ok"
    say(f"  {verdict:4}  {name:24} {passed:5} passed {failed:3} failed {took:7.1f} s")
    if failed:
        why = "ran too long" if status is None else f"exit status {status}"
        say(f"---- {name}: {command}\n{output.rstrip()}\n---- {name}: {why}")
    return passed, failed


def build(targets, jobs):
    """Everything the suites need. Progress every few seconds; output only on failure."""
    start = time.monotonic()
    command = f"make --no-print-directory -k -j{jobs} {targets}"
    say(f"  {command}")
    done = threading.Event()

    def tick():
        while not done.wait(15):
            say(f"  building, {time.monotonic() - start:.0f} s")
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    status, output = run_command(command, BUILD_SECONDS_MAX, os.environ)
    done.set()
    ticker.join()
    took = time.monotonic() - start
    say(f"  {'ok' if status == 0 else 'FAIL':4}  {'build':24} {took:37.1f} s")
    if status != 0:
        say(f"---- build\n{output.rstrip()}\n---- build: exit status {status}")
    return status == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--make", default=None)
    parser.add_argument("--suite", nargs=2, action="append", default=[],
                        metavar=("NAME", "COMMAND"))
    arguments = parser.parse_args()

    passed = failed = 0
    if arguments.make and not build(arguments.make, arguments.jobs):
        failed += 1  # the suites that could be built still run
    if not arguments.suite:
        say("  FAIL  no suite to run")
        failed += 1
    alone = [s for s in arguments.suite if s[0].startswith("boot/")]
    with concurrent.futures.ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        results = list(pool.map(lambda s: run_suite(*s),
                                [s for s in arguments.suite if s not in alone]))
    results += [run_suite(*s) for s in alone]
    passed += sum(result[0] for result in results)
    failed += sum(result[1] for result in results)
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
