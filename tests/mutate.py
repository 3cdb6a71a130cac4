#!/usr/bin/env python3
"""mutate.py - break the code on purpose: do the tests notice?

    tests/mutate.py listed [--jobs N] [--only TEXT]
        Every mutant of tests/mutants.txt, each noticed by the test that it names;
        and every line that orders memory or changes what addresses mean is there.
    tests/mutate.py sample [--jobs N] [--seconds N] [--seed N] [--only TEXT]
        Random mutants of src/*.c: what share is noticed? Prints the survivors.

The tree itself is never changed: mutants are built from copies under build/.

tests/mutants.txt, a line each, fields apart by " | ":

    FILE | LINE | PROGRAM | TEST         LINE, a whole statement, is removed
    FILE | LINE => NEW | PROGRAM | TEST  LINE becomes NEW
    except | FILE | LINE | REASON        need not be listed

LINE is a line of FILE without its indentation, and with "@2" after it the second
such line. PROGRAM is a host test (lock_test), the same under the thread
sanitizer (tsan:lock_test), or a script of tests/boot (boot:kernel_test). TEST
must fail, and no other test of a host program; "TEST, TEST" and "TEST, ..." say
that others fail too.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LIST = pathlib.Path("tests/mutants.txt")
WORK = pathlib.Path(os.environ.get("BUILD", "build")) / "mutants"
BASE = WORK / "base"  # src/, include/ and tests/*.[ch] as they were when this run began
PROGRAM_SECONDS_MAX = 120
BOOT_SECONDS_MAX = 300
NOTICED_TARGET = 90.0  # percent


# ---- running -----------------------------------------------------------------

def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 26, 1 << 26))


def run(command, seconds, **variables):
    """Exit status (None: too long) and output of a command."""
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", TSAN_OPTIONS="halt_on_error=1",
               ASAN_OPTIONS="detect_leaks=0", **variables)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        env.pop(name, None)
    with tempfile.TemporaryFile() as out:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, env=env, start_new_session=True,
                              preexec_fn=limit) as process:
            try:
                status = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = None
        out.seek(0)
        return status, out.read().decode(errors="replace")


def make(*arguments):
    status, output = run(["make", "--no-print-directory", *arguments], 1800)
    if status != 0:
        raise SystemExit(f"mutate: make {' '.join(arguments)} failed\n{output}")
    return output


def variable(name):
    """Value of a make variable, as words."""
    return make("-s", f"print-{name}").split()


# ---- building ----------------------------------------------------------------

def library_sources():
    return sorted(p.relative_to(BASE) for p in BASE.glob("src/*.c"))


def private_headers():
    return sorted(p.relative_to(BASE) for p in BASE.glob("src/internal/*.h"))


def sources_with(path):
    """The library's sources that a file goes into; of a header, also by way of others."""
    if path.suffix == ".c":
        return [path]
    if path not in private_headers():
        return library_sources()
    found = {path.name}
    while True:
        more = {p.name for p in private_headers() + library_sources() if any(
            re.search(rf'#include "(internal/)?{re.escape(name)}"', (BASE / p).read_text())
            for name in found)}
        if more <= found:
            return [p for p in library_sources() if p.name in found]
        found |= more


class Flavour:
    """Objects of library and tests, compiled one way."""

    def __init__(self, name, sanitizer):
        self.name = name
        self.folder = WORK / name
        self.compiler = variable("CC")
        self.link_flags = variable(sanitizer) if sanitizer else []
        self.flags = [f for f in variable("TEST_CFLAGS") if f not in ("-MMD", "-MP")]
        self.flags += self.link_flags
        if not sanitizer:
            self.flags = [f for f in self.flags if not f.startswith("-O")] + ["-O0"]
        self.flags += ["-w"]
        self.support = [n for n in variable("TEST_SUPPORT") if n != "loam_all"]

    def object_of(self, source):
        return self.folder / (str(source).replace("/", "_") + ".o")

    def compile_command(self, source, target, root=BASE):
        return [*self.compiler, f"-I{root}/include", f"-iquote{root}/src", "-Itests", *self.flags,
                "-c", str(source), "-o", str(target)]

    def prepare(self, programs, pool):
        """Compile the library, what tests share, and the programs. Unchanged
        ones too: a minute at most, and never stale."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sources = [*(f"tests/{n}.c" for n in self.support), *(f"tests/{p}.c" for p in programs)]
        commands = [self.compile_command(s, self.object_of(s)) for s in sources]
        commands += [self.compile_command(BASE / s, self.object_of(s)) for s in library_sources()]
        for status, output in pool.map(lambda c: run(c, 600), commands):
            if status != 0:
                raise SystemExit(f"mutate: the tree does not build\n{output}")

    def build(self, program, replaced, target, place=None):
        """Link a program with some library objects replaced: {source: object}. One that
        includes sources is compiled anew where those are changed."""
        objects = [replaced.get(s, self.object_of(s)) for s in library_sources()]
        objects += [self.object_of(f"tests/{n}.c") for n in self.support]
        if place is None or not includes_sources(program):
            objects.append(self.object_of(f"tests/{program}.c"))
        else:
            objects.append(place / f"{program}.o")
            command = self.compile_command(place / f"tests/{program}.c", objects[-1], place)
            status, output = run(command, 600)
            if status != 0:
                return status, output
        return run([*self.compiler, *self.link_flags, *map(str, objects), "-lcmocka", "-lpthread",
                    "-o", str(target)], 600)

    def command(self, program):
        return ["tests/tsan.sh", str(program)] if self.name == "tsan" else [str(program)]


def copy_base():
    shutil.rmtree(BASE, ignore_errors=True)
    for folder in ("src", "include"):
        shutil.copytree(folder, BASE / folder)
    (BASE / "tests").mkdir()
    for path in pathlib.Path("tests").glob("*.[ch]"):
        shutil.copy2(path, BASE / path)


def includes_sources(program):
    """Does a test, or a header of tests that it includes, include sources of the library?"""
    text = (BASE / f"tests/{program}.c").read_text()
    for name in re.findall(r'#include "(\w+\.h)"', text):
        header = BASE / "tests" / name
        text += header.read_text() if header.exists() else ""
    return '#include "../src/' in text


def mutated_objects(flavour, place, path, text):
    """Compile what the changed file goes into. None if it does not compile."""
    shutil.copytree(BASE, place, dirs_exist_ok=True)
    (place / path).write_text(text)
    replaced = {}
    for source in sources_with(path):
        target = place / (source.name + ".o")
        status, _ = run(flavour.compile_command(place / source, target, place), 600)
        if status != 0:
            return None
        replaced[source] = target
    return replaced


def failing_tests(output):
    return set(re.findall(r"^not ok \d+ - (\S+)", output, re.MULTILINE))


# ---- listed mutants ----------------------------------------------------------

def find_line(text, wanted):
    """(start, end) of a line of the list in a file's text."""
    number = 1
    counted = re.fullmatch(r"(.*) @(\d+)", wanted)
    if counted:
        wanted, number = counted.group(1), int(counted.group(2))
    at, found = 0, []
    for line in text.splitlines(keepends=True):
        if line.strip() == wanted:
            found.append((at, at + len(line)))
        at += len(line)
    if len(found) < number or (not counted and len(found) > 1):
        return None
    return found[number - 1]


class Mutant:
    """One line of the list."""

    def __init__(self, fields):
        self.path = pathlib.Path(fields[0])
        self.line, _, self.new = (part.strip() for part in fields[1].partition(" => "))
        self.flavour, _, self.program = fields[2].rpartition(":")
        self.tests = [name.strip() for name in fields[3].split(",")]
        self.name = " | ".join(fields)

    def text(self):
        """The changed file, or None if the line is not there, or not just once."""
        text = self.path.read_text()
        found = find_line(text, self.line)
        if found is None:
            return None
        line = text[found[0]:found[1]]
        empty = "" if self.path.suffix == ".S" else ";"
        return (text[:found[0]] + line.replace(line.strip(), self.new or empty) +
                text[found[1]:])


def fields_of(line):
    """FILE, LINE, PROGRAM, TEST; LINE may have bars of its own."""
    path, _, rest = line.partition(" | ")
    return [field.strip() for field in [path, *rest.rsplit(" | ", 2)]]


def read_list():
    mutants, excepted, bad = [], [], []
    for number, line in enumerate(LIST.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("except | "):
            path, _, rest = line.partition(" | ")[2].partition(" | ")
            excepted.append((pathlib.Path(path), rest.rpartition(" | ")[0]))
            continue
        fields = fields_of(line)
        if len(fields) != 4 or not all(fields):
            bad.append(f"{LIST}:{number}: not four fields")
        else:
            mutants.append(Mutant(fields))
    return mutants, excepted, bad


# What must be listed: changes of what addresses mean, and orders of memory.
CRITICAL = re.compile(
    r"loam_x86_write_cr[034]\(|loam_x86_wrmsr\(|\bwrmsr\b|"
    r"\binvlpg\b|loam_x86_inv\w+\(|loam_x86_tlbsync\(|wbinvd|"
    r"\b(cpu_)?write_cr[034]\(|mov\w*\s+[^,]+,\s*%cr[034]|loam_tlb_flush_local\(|"
    r"loam_port_tlb_flush\(|memory_order_(acquire|release|acq_rel|seq_cst)|atomic_thread_fence|"
    r"__atomic_|__sync_|\b[lms]fence\b")
# A definition or declaration is none of these.
DECLARATION = re.compile(r"^(static |extern |void |__attribute__|uint64_t )")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def unlisted(mutants, excepted):
    """Critical lines that are neither a mutant nor excepted."""
    for folder in ("src", "kernel", "boot"):
        for path in sorted(pathlib.Path(folder).rglob("*.[chS]")):
            text = path.read_text()
            spans = [find_line(text, m.line) for m in mutants if m.path == path]
            spans += [find_line(text, line) for file, line in excepted if file == path]
            starts = {span[0] for span in spans if span is not None}
            code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
            at = 0
            for number, line in enumerate(code.splitlines(keepends=True), 1):
                if CRITICAL.search(line) and not DECLARATION.match(line) and at not in starts:
                    yield f"{path}:{number}: not listed: {line.strip()}"
                at += len(line)


def check_host(mutant, flavour, text):
    """Why a host mutant is not noticed as listed, or None."""
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        place = pathlib.Path(folder)
        objects = mutated_objects(flavour, place, mutant.path, text)
        if objects is None:
            return "does not compile"
        program = place / mutant.program
        status, output = flavour.build(mutant.program, objects, program, place)
        if status != 0:
            return f"does not link\n{output}"
        command = flavour.command(program)
        for name in mutant.tests:
            if name != "..." and run(command, PROGRAM_SECONDS_MAX, FILTER=name)[0] == 0:
                return f"not noticed by {name}"
        if "..." in mutant.tests or flavour.name == "tsan":
            return None
        status, output = run(command, PROGRAM_SECONDS_MAX)
        others = failing_tests(output) - set(mutant.tests)
        return f"fails too: {', '.join(sorted(others))}" if others else None


def check_boot(mutant, tree, text):
    """Why a mutant of kernel or shim is not noticed as listed, or None."""
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        place = pathlib.Path(folder) / "tree"
        subprocess.run(["cp", "-a", str(tree), str(place)], check=True)
        (place / mutant.path).write_text(text)
        status, output = run(["make", "--no-print-directory", "-C", str(place), "BUILD=build",
                              "boot-programs"], 600)
        if status != 0:
            return f"does not build\n{output}"
        for name in mutant.tests:
            if boot_test(place, mutant.program, name) == 0:
                return f"not noticed by {name}"
    return None


def boot_test(place, program, name):
    return run(["env", "-C", str(place), "python3", f"tests/boot/{program}.py", "--build", "build",
                name], BOOT_SECONDS_MAX)[0]


def copy_tree():
    """The tree, built, for kernel and shim mutants."""
    tree = WORK / "tree"
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                            "--exclude-standard"], stdout=subprocess.PIPE, check=True).stdout
    for name in files.decode().split("\0"):
        if name and os.path.isfile(name):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, tree / name)
    make("-C", str(tree), "BUILD=build", "boot-programs")
    return tree


def fingerprint():
    """Digest of all that a verdict depends on, but the mutant."""
    digest = hashlib.sha256()
    for folder in ("include", "src", "kernel", "boot", "tests"):
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file() and path != LIST and path.suffix != ".pyc":
                digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def check_baseline(mutants, flavours, tree, pool):
    """The unchanged tree passes every test that is named. Yields what does not."""
    def check(item):
        flavour, program, name = item
        if flavour == "boot":
            return boot_test(tree, program, name)
        target = flavours[flavour].folder / program
        return run(flavours[flavour].command(target), PROGRAM_SECONDS_MAX, FILTER=name)[0]
    for flavour, program in sorted({(m.flavour, m.program) for m in mutants}):
        if flavour != "boot":
            status, output = flavours[flavour].build(program, {},
                                                     flavours[flavour].folder / program)
            if status != 0:
                raise SystemExit(f"mutate: {program} does not link\n{output}")
    items = sorted({(m.flavour, m.program, n) for m in mutants for n in m.tests if n != "..."})
    for item, status in zip(items, pool.map(check, items)):
        if status != 0:
            yield f"{item[1]}: {item[2]} fails, or does not exist, without a mutant"


def listed(arguments, pool):
    mutants, excepted, bad = read_list()
    bad += unlisted(mutants, excepted)
    cache_file, state = WORK / "noticed.json", fingerprint()
    cache = json.loads(cache_file.read_text()) if cache_file.exists() else {}
    cache = cache if cache.get("state") == state else {"state": state}
    for path, line in excepted:
        if not path.exists() or find_line(path.read_text(), line) is None:
            bad.append(f"{LIST}: {path}: no such line, or several: {line}")

    mutants = [m for m in mutants if arguments.only in m.name]
    todo = [m for m in mutants if m.name not in cache]
    flavours = {name: Flavour(name, sanitizer) for name, sanitizer in
                (("", "ASAN"), ("tsan", "TSAN")) if any(m.flavour == name for m in todo)}
    for name, flavour in flavours.items():
        flavour.folder = WORK / (name or "host")
        flavour.prepare(sorted({m.program for m in todo if m.flavour == name}), pool)
    tree = copy_tree() if any(m.flavour == "boot" for m in todo) else None
    bad += check_baseline(todo, flavours, tree, pool)

    def check(mutant):
        if mutant.name in cache:
            return None
        text = mutant.text()
        if text is None:
            return "no such line, or several"
        if mutant.flavour == "boot":
            return check_boot(mutant, tree, text)
        return check_host(mutant, flavours[mutant.flavour], text)
    failed = 0
    for mutant, why in zip(mutants, pool.map(check, mutants)):
        print(f"ok - {mutant.name}" if why is None else f"not ok - {mutant.name}: {why}",
              flush=True)
        failed += why is not None
        if why is None:
            cache[mutant.name] = True
    cache_file.write_text(json.dumps(cache))
    for line in bad:
        print(f"not ok - {line}")
    print(f"{len(mutants) - failed} passed, {failed + len(bad)} failed")
    return 1 if failed or bad or not mutants else 0


# ---- random mutants ----------------------------------------------------------

SWAPS = [(r"(?<![<>=!-])<(?![<=])", "<="), (r"<=", "<"), (r"(?<![<>=-])>(?![>=])", ">="),
         (r">=", ">"), (r"==", "!="), (r"!=", "=="), (r"&&", "||"), (r"\|\|", "&&"),
         (r"(?<=\w )\+(?= \w)", "-"), (r"(?<=\w )-(?= \w)", "+"), (r"\+=", "-="), (r"-=", "+="),
         (r"(?<=\w )&(?= [\w~(])", "|"), (r"(?<=\w )\|(?= [\w~(])", "&"), (r"<<", ">>"),
         (r">>", "<<"), (r"(?<=[( ])!(?=[\w(])", ""), (r"\btrue\b", "false"),
         (r"\bfalse\b", "true"), (r"\bNULL\b(?=;)", '"mutant"'), (r"\+\+", "--"),
         (r"\b0\b", "1"), (r"\b1\b", "0"), (r"\b1\b", "2"), (r"\b[2-9]\b", "1"),
         (r"(?<=\bif \()", "1 || "), (r"(?<=\bif \()", "0 && "), (r"(?<=\bwhile \()", "0 && ")]
# Checks of our own invariants are not removed: that shows only beside another fault.
STATEMENT = re.compile(
    r"^ {4,}(?!LOAM_ASSERT|LOAM_AUDIT|return\b|const |struct |enum |uint|size_t|bool |unsigned |"
    r"void |break|loam_phys |loam_virt |static |char |else|case |goto )\S.*;$", re.M)


def code_only(text):
    """Comments, strings, preprocessor lines and static assertions blanked."""
    blank = lambda m: re.sub(r"[^\n]", "\0", m.group(0))
    text = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)
    text = re.sub(r"^#(?:.*\\\n)*.*$", blank, text, flags=re.MULTILINE)
    return re.sub(r"^LOAM_STATIC_ASSERT\(.*?\);$", blank, text, flags=re.MULTILINE | re.DOTALL)


def candidates(path):
    """(path, start, end, replacement) of every mutation of one file."""
    code = code_only((BASE / path).read_text())
    for pattern, new in SWAPS:
        for match in re.finditer(pattern, code):
            yield path, match.start(), match.end(), new
    for match in STATEMENT.finditer(code):
        start = match.start() + len(match.group(0)) - len(match.group(0).lstrip())
        before = code[:match.start()].rstrip("\0\n ")[-4:]
        if "\0" not in match.group(0) and re.search(r"([;{})]|else)$", before):
            yield path, start, match.end(), ";"


def programs_of(path):
    """The file's own tests, then those of its layer, then those of the layers together."""
    own = sorted(p.stem for p in pathlib.Path("tests").glob(f"{path.stem}_*test.c"))
    layer = sorted(p.stem for p in pathlib.Path("tests").glob(f"{path.stem.split('_')[0]}_*test.c"))
    own += [p for p in layer if p not in own]
    joint = sorted(p.stem for p in pathlib.Path("tests").glob("loam_*test.c"))
    return own + [p for p in joint if p not in own]


def is_noticed(flavour, programs, mutation, times):
    """True, False, or None if it does not compile."""
    path, start, end, new = mutation
    text = (BASE / path).read_text()
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        place = pathlib.Path(folder)
        objects = mutated_objects(flavour, place, path, text[:start] + new + text[end:])
        if objects is None:
            return None
        for program in programs:
            status, _ = flavour.build(program, objects, place / program, place)
            if status != 0:
                return None
            status, _ = run([str(place / program)], 3 + 5 * times[flavour.name, program])
            if status != 0:
                return True
    return False


def sample(arguments, pool):
    paths = [p for p in library_sources() + private_headers() if arguments.only in str(p)]
    mutations = [m for path in paths for m in candidates(path)]
    random.Random(arguments.seed).shuffle(mutations)
    programs = sorted({p for path in paths for p in programs_of(path)})
    flavours = [Flavour("plain", None), Flavour("asan", "ASAN")]
    times = {}
    for flavour in flavours:
        flavour.prepare(programs, pool)
        for program in programs:
            flavour.build(program, {}, flavour.folder / program)
            start = time.monotonic()
            if run([str(flavour.folder / program)], PROGRAM_SECONDS_MAX)[0] != 0:
                raise SystemExit(f"mutate: {program} fails without a mutant")
            times[flavour.name, program] = time.monotonic() - start

    deadline = time.monotonic() + arguments.seconds

    def check(mutation):
        if time.monotonic() > deadline:
            return "too late"
        # The fast build first; the sanitizers only for what it did not notice.
        noticed = False
        for flavour in flavours:
            noticed = is_noticed(flavour, programs_of(mutation[0]), mutation, times)
            if noticed is not False:
                break
        return noticed
    mutations = mutations[:arguments.mutants]
    verdicts = list(pool.map(check, mutations))
    noticed = verdicts.count(True)
    survivors = [m for m, verdict in zip(mutations, verdicts) if verdict is False]
    for path, start, end, new in sorted(survivors):
        text = (BASE / path).read_text()
        line = text[text.rfind("\n", 0, start) + 1:text.find("\n", end)].strip()
        print(f"survived {path}:{text.count(chr(10), 0, start) + 1}: {text[start:end]!r} -> "
              f"{new!r}: {line}")
    total = noticed + len(survivors)
    share = 100 * noticed / total if total else 0
    print(f"seed {arguments.seed}: of {len(mutations)} mutants {verdicts.count(None)} do not "
          f"compile, {verdicts.count('too late')} were not tried in {arguments.seconds:.0f} s; "
          f"of {total} that ran {noticed} were noticed")
    print(f"figure mutation.noticed {share:.1f} >={NOTICED_TARGET:.0f} "
          f"{'met' if share >= NOTICED_TARGET else 'short'}")
    return 0 if total else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("listed", "sample"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=400)
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    copy_base()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        return (listed if arguments.mode == "listed" else sample)(arguments, pool)


if __name__ == "__main__":
    sys.exit(main())
