#!/usr/bin/env python3
"""programs.py - real programs give the same under a preloaded malloc as without it.

    tests/preload/programs.py LIBRARY|system [PATTERN]

Each program does its work twice at the same time, in folders of their own: under
the library, and as the system has it. All that it wrote is compared byte for byte,
after what each test says of times and names of folders. PATTERN is a shell pattern
of test names. Prints TAP.

The programs are Debian's; tools/deps.sh installs them. With TIMES=1 in the
environment each result is followed by its seconds.
"""
import concurrent.futures
import difflib
import fnmatch
import http.client
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import workloads

COMMAND_SECONDS_MAX = 100
DIFFERENCE_LINES_MAX = 30


class World:
    """A folder to work in, and a malloc to work with."""

    def __init__(self, library, folder):
        self.library = library  # None: the system's
        self.folder = pathlib.Path(folder)
        self.servers = []
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder),
                            "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if library:
            self.environment["LD_PRELOAD"] = library

    def run(self, *command, stdin=b"", seconds=COMMAND_SECONDS_MAX, status=0, **environment):
        """Both outputs of a program that must end with this status. `cwd` is the folder."""
        process = self.start(*command, stdin=subprocess.PIPE, **environment)
        try:
            output, _ = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise workloads.Failed(f"{command[0]} still ran after {seconds} s") from None
        if process.returncode != status:
            tail = output[-2000:].decode(errors="replace")
            raise workloads.Failed(
                f"{' '.join(map(str, command))} ended with {process.returncode}:\n{tail}")
        return output.replace(str(self.folder).encode(), b"FOLDER")

    def start(self, *command, stdin=subprocess.DEVNULL, executable=None, **environment):
        """A program that is ended when the test does. Its output is its stdout."""
        process = subprocess.Popen(
            command, executable=executable, cwd=self.folder, stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**self.environment, **environment}, start_new_session=True)
        self.servers.append(process)
        return process

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def read(self, name):
        return (self.folder / name).read_bytes()

    def must_use_library(self, program):
        """What the dynamic loader would load for it: LD_PRELOAD fails in silence."""
        if not self.library:
            return
        loaded = subprocess.run([program], env={**self.environment, "LD_TRACE_LOADED_OBJECTS": "1"},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if self.library.encode() not in loaded.stdout:
            raise workloads.Failed(f"{program} does not load {self.library}")

    def end(self):
        for process in self.servers:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.communicate()


def do_work(work, library):
    """What a program wrote, or Failed."""
    with tempfile.TemporaryDirectory(prefix="loam-") as folder:
        os.chmod(folder, 0o755)
        world = World(library, folder)
        try:
            return work(world)
        finally:
            world.end()


def difference(want, got):
    lines = difflib.unified_diff(want.decode(errors="replace").splitlines(),
                                 got.decode(errors="replace").splitlines(),
                                 "system", "library", lineterm="", n=1)
    return "\n".join(line[:200] for _, line in zip(range(DIFFERENCE_LINES_MAX), lines))


def compare(work, library):
    """None, or why the program is not the same under the library."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        system = pool.submit(do_work, work, None)
        other = pool.submit(do_work, work, library)
    failures = []
    for name, result in (("the system's malloc", system), ("the library", other)):
        try:
            result.result()
        except FileNotFoundError as error:
            failures.append(f"{error.filename} is not installed: tools/deps.sh test")
        except (OSError, http.client.HTTPException, workloads.Failed) as error:
            failures.append(f"under {name}: {type(error).__name__}: {error}")
    if failures:
        return "\n".join(dict.fromkeys(failures))
    want, got = system.result(), other.result()
    if len(want) < workloads.OUTPUT_BYTES_MIN:
        return f"it wrote only {len(want)} bytes"
    return None if want == got else difference(want, got)


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    library = None if sys.argv[1] == "system" else os.path.realpath(sys.argv[1])
    if library and not os.access(library, os.R_OK):
        print(f"{library} is not there", file=sys.stderr)
        return 2
    pattern = sys.argv[2] if len(sys.argv) > 2 else "*"
    wanted = [work for work in workloads.ALL if fnmatch.fnmatch(work.__name__, pattern)]
    failed = 0
    printing = threading.Lock()

    def test(work):
        start = time.monotonic()
        why = compare(work, library)
        with printing:
            print(f"{'not ok' if why else 'ok'} - {work.__name__}", flush=True)
            for line in (why or "").splitlines():
                print(f"# {line}")
            if "TIMES" in os.environ:
                print(f"# {time.monotonic() - start:.1f} s", flush=True)
        return bool(why)

    for work in wanted:
        failed += test(work)
    print(f"1..{len(wanted)}")
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
