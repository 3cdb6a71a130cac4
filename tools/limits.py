#!/usr/bin/env python3
"""limits.py - sizes and small things. Prints every offence.

C: functions of 70 lines, control flow nested 4 deep. All: files of 600 lines,
lines of 100 columns in code, no spaces at the end, no TODO without an issue
number, a line end at the end, no path of somebody's machine.
"""
import pathlib
import re
import subprocess
import sys

FUNCTION_LINES_MAX = 70
NESTING_MAX = 4
FILE_LINES_MAX = 600
COLUMNS_MAX = 100
CODE = (".c", ".h", ".S", ".ld", ".py", ".sh", ".mk")
TODO = re.compile(r"\b(TODO|FIXME|XXX)\b(?!.{0,4}#\d)")
MACHINE_PATH = re.compile(r"(?<![\w.$}-])/(home|root|" + "work" + r")/")
COMMENT_OR_STRING = re.compile(
    r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def blank(match):
    """Same length and lines, no contents."""
    return re.sub(r"[^\n]", " ", match.group(0))


def functions(text):
    """(line, body) of each function: clang-format puts its braces in column 0."""
    start, body = None, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("{"):
            start, body = number, []
        elif line.startswith("}") and start is not None:
            yield start, number, "\n".join(body)
            start = None
        elif start is not None:
            body.append(line)


def nesting(body):
    """Deepest control flow: braces of blocks, those of initialisers left out."""
    deepest, stack = 0, []
    for brace in re.finditer(r"[{}]", body):
        if brace.group(0) == "}":
            stack.pop()
            continue
        before = body[:brace.start()].rstrip()
        stack.append(bool(re.search(r"([);:{}]|\belse|\bdo|^)$", before[-8:])))
        deepest = max(deepest, sum(stack))
    return deepest


def check(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    code = path.suffix in CODE
    if text and not text.endswith("\n"):
        yield len(lines), "no line end at the end"
    if code and len(lines) > FILE_LINES_MAX:
        yield len(lines), f"over {FILE_LINES_MAX} lines"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "space at the end"
        if "\t" in line and path.suffix in (".c", ".h", ".py"):
            yield number, "tab"
        if code and len(line.expandtabs(4)) > COLUMNS_MAX and path.suffix not in (".sh", ".mk"):
            yield number, f"over {COLUMNS_MAX} columns"
        if TODO.search(line) and path.name != "limits.py":
            yield number, "TODO without an issue number"
        if MACHINE_PATH.search(line):
            yield number, "path of somebody's machine"
    if path.suffix in (".c", ".h"):
        for start, end, body in functions(COMMENT_OR_STRING.sub(blank, text)):
            if end - start > FUNCTION_LINES_MAX:
                yield start, f"function of {end - start} lines"
            if nesting(body) > NESTING_MAX:
                yield start, f"control flow nested {nesting(body)} deep"


def main():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                             "--exclude-standard"], stdout=subprocess.PIPE, check=True).stdout
    bad = 0
    for name in sorted(set(listed.decode().split("\0"))):
        path = pathlib.Path(name)
        known = path.suffix in CODE + (".md",) or path.name in ("Makefile", "run", ".gitignore")
        if not name or not known or not path.is_file():
            continue
        for number, why in check(path):
            print(f"{path}:{number}: {why}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
