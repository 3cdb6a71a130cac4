#!/usr/bin/env python3
"""Boot the reference kernel through the shim in QEMU and check what it says.

    kernel_test.py [--build DIR] [--quick] [--jobs N] [SUBSTRING]

Everything is compared by value: with the machine that was asked for, with the
kernel's own ELF file, and with page-table arithmetic done here a second time.
One line per case, then `N passed, N failed`. Fails if anything failed or if
SUBSTRING selects nothing.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import kernel_numa  # noqa: F401 - more cases
import kernel_refusals  # noqa: F401
import shim_machine as lab
from kernel_machine import (
    CASES, DEMOS, HEAPS, MIB, NO_LA57, PAGE, SELFTESTS, Kernel, boot, case, check_all,
    check_books, check_cow, check_demos, check_frames, check_hellos, check_machine,
    check_paging, check_registers, check_selftests, check_shootdown, check_timer, check_wc,
    equal, expect, failed, healthy, heap_bytes_at_boot, heap_kind_of, heap_of, passed, symbol)

FIVE_LEVELS = 0xFF00000000000000
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# ---- machines ---------------------------------------------------------------------


def matrix():
    for memory in ("64M", "512M", "3G", "8G"):
        for cpus in (1, 2, 4):
            machine = "pc" if cpus == 2 else "q35"
            quick = (memory, cpus) in (("64M", 1), ("3G", 2), ("8G", 4))

            def run(how=dict(machine=machine, memory=memory, cpus=cpus, cpu=NO_LA57)):
                k = healthy(**how)
                equal(heap_of(k)[1], heap_bytes_at_boot(k), "heap bytes")
                check_timer(k)
            case(f"{machine}-{memory}-{cpus}cpu", quick)(run)


matrix()


@case("5-level-8G-4cpu", quick=True)
def _():
    healthy(memory="8G", cpus=4, cpu="max,la57=on", hhdm=FIVE_LEVELS, levels=5)


@case("no-nx-no-1G-pages", quick=True)
def _():
    k = healthy(machine="pc", memory="3G", cpus=2, cpu="qemu64,-nx", nx=False)
    expect("NX 0, 1 GiB pages 0" in k.text, "features")


@case("8-cpus")
def _():
    healthy(cpus=8, cpu=NO_LA57, timeout=180)


@case("apic-ids-with-holes", quick=True)
def _():
    healthy(cpus=6, cpu=NO_LA57, timeout=180,
            extra=["-smp", "6,sockets=2,cores=3,threads=1"])


@case("no-timer-to-measure-with")
def _():
    k = healthy(machine="q35,pit=off", cpu=NO_LA57, cpus=2)
    expect("WARN  timer: it cannot be measured, there is no PIT: its pace is guessed\n" in k.text,
           "the warning")


@case("microvm-1cpu", quick=True)
def _():
    healthy(machine="microvm", memory="256M", cpu=NO_LA57)


@case("microvm-4cpu")
def _():
    healthy(machine="microvm", memory="256M", cpus=4, cpu=NO_LA57)


@case("16M", quick=True)
def _():
    healthy(memory="16M", cpu=NO_LA57)


@case("framebuffer", quick=True)
def _():
    k = healthy(machine="pc", cpu=NO_LA57, extra=["-vga", "std"])
    equal(k.owners["framebuffer"], 1024 * 768 * 4, "framebuffer bytes")
    expect(check_wc(k), "demo wc found no framebuffer")


@case("demos-of-page-tables", quick=True)
def _():
    """With a framebuffer, at four and at five levels."""
    for cpus, cpu, machine in ((4, "max,la57=on", "q35"), (4, NO_LA57, "pc"), (1, NO_LA57, "pc")):
        for demo, check in (("shootdown", check_shootdown), ("cow", check_cow), ("wc", check_wc)):
            check(passed(boot(cpus=cpus, cpu=cpu, machine=machine, extra=["-vga", "std"],
                              cmdline=f"demo={demo}")))


@case("modules", quick=True)
def _():
    plain = healthy(cpu=NO_LA57)
    equal(plain.field(r"modules: (\d+)"), 0, "modules")
    sizes = (5000, 900001)
    files = [(f"m{i}", lab.scratch(f"module-{i}", os.urandom(n))) for i, n in enumerate(sizes)]
    k = healthy(cpu=NO_LA57, modules=files)
    equal(k.field(r"modules: (\d+)"), 2, "modules")
    equal(k.owners["executable"] - plain.owners["executable"],
          sum(-(-n // PAGE) * PAGE for n in sizes), "bytes of the modules")


@case("other-hhdm", quick=True)
def _():
    healthy(cpu=NO_LA57, cpus=2, cmdline="shim.hhdm=ffffa00000000000", hhdm=0xFFFFA00000000000)


@case("unaligned-hhdm")
def _():
    healthy(cpu=NO_LA57, memory="64M", cmdline="shim.hhdm=0xffff900000003000",
            hhdm=0xFFFF900000003000)


def revisions():
    for n in (3, 4, 5, 6):
        def run(n=n):
            k = healthy(cpu=NO_LA57, cmdline=f"shim.revision={n}", revision=n)
            equal(k.field(r"base revision (\d+)"), n, "base revision")
        case(f"revision-{n}", quick=n == 3)(run)


revisions()


@case("revision-2", quick=True)
def _():
    """The protocol ends at 3 downwards: the loader refuses before the kernel can."""
    tag = lab.REVISION_TAG
    data = lab.patch(bytearray(lab_kernel()), tag, 2, 2)
    k = boot(kernel=data)
    equal(k.status, 35, "status")
    expect("too old" in k.text, k.tail())


def lab_kernel():
    with open(os.path.join(lab.BUILD, "kernel.elf"), "rb") as f:
        return f.read()


# ---- what the command line asks for ----------------------------------------------------


@case("reclaim", quick=True)
def _():
    k = passed(boot(cpus=4, cpu=NO_LA57, cmdline="reclaim"))
    check_machine(k, 4)
    check_hellos(k, 4)
    check_demos(k)
    check_selftests(k)
    check_books(k)
    gained, filled = k.fields(r"reclaimed (\d+) bytes in \d+ ranges, overwrote (\d+)")
    equal(gained, k.map["bootloader-reclaimable"], "bytes reclaimed")
    expect(gained - 64 * PAGE <= filled <= gained, f"overwrote {filled} of {gained}")
    before, after = k.tables[1], k.tables[2]
    equal(k.sums[2][2], k.sums[1][2], "sums before and after")
    equal(before["bootloader"], gained, "the bootloader's, before")
    for table in k.tables[2:]:
        expect("bootloader" not in table, "the bootloader still owns memory")
    spent = after["library metadata"] - before["library metadata"]
    equal(after["usable"], before["usable"] + gained - spent, "usable at once")
    spent = sum(k.tables[-1].get(owner, 0) - k.tables[0].get(owner, 0)
                for owner in ("library metadata", "heap"))
    equal(k.tables[-1]["usable"], k.tables[0]["usable"] + gained - spent, "usable afterwards")


@case("reclaim-with-a-cpu-left-behind", quick=True)
def _():
    k = failed(boot(cpus=3, cpu=NO_LA57, cmdline="cpus=2 reclaim"),
               "reclaim refused: a CPU still runs on the bootloader's memory")
    check_hellos(k, 2)
    expect("1 more CPUs stay with the bootloader" in k.text, k.tail())


@case("latecomer", quick=True)
def _():
    k = passed(boot(cpus=3, cpu=NO_LA57, cmdline="latecomer demo=box"))
    expect("sees the change that it was asked about" in k.text, k.tail())
    check_hellos(k, 3)


@case("fewer-cpus-than-there-are")
def _():
    k = passed(boot(cpus=4, cpu=NO_LA57, cmdline="cpus=2"))
    check_hellos(k, 2)
    check_registers(k, 2)
    check_selftests(k)


def single_demos():
    for name in DEMOS:
        def run(name=name):
            k = passed(boot(cpu=NO_LA57, cmdline=f"demo={name}"))
            equal(k.demos, [name], "demos")
            equal(k.selftests, [], "self-tests")
        case(f"demo-{name}")(run)


single_demos()


@case("demo-nonsense")
def _():
    failed(boot(cmdline="demo=nonsense"), "there is no demo nonsense")


@case("selftest-alone")
def _():
    k = passed(boot(cpus=2, cpu=NO_LA57, cmdline="selftest"))
    equal(k.demos, [], "demos")
    check_selftests(k)


@case("frames-of-all-orders-on-4-cpus", quick=True)
def _():
    k = passed(boot(cpus=4, cpu=NO_LA57, memory="5G", cmdline="selftest"))
    check_selftests(k)
    orders = check_frames(k)
    expect(all(orders), f"blocks of orders 0 to 9: {orders}")


@case("soak-of-page-tables-on-4-cpus", quick=True)
def _():
    for cpu in (NO_LA57, "max,la57=on"):
        k = passed(boot(cpus=4, cpu=cpu, cmdline="selftest soak", timeout=300))
        equal(k.selftests, SELFTESTS, "self-tests that went well")
        check_paging(k, 100000)


@case("quiet", quick=True)
def _():
    k = passed(boot(cpus=2, cpu=NO_LA57, cmdline="quiet"))
    lines = k.text.split("\n")
    equal([line for line in lines if line.strip() and "Hello World!" not in line], [], "lines")


@case("word-not-understood")
def _():
    k = passed(boot(cmdline="demo=box frobnicate"))
    expect("WARN  not understood on the command line: frobnicate" in k.text, k.tail())


def heaps():
    for kind in HEAPS:
        for debug in (False, True):
            def run(kind=kind, debug=debug):
                # A bump heap has room for the stress only if it is large.
                cmdline = f"heap={kind} heap=64M" + (" heap-debug" if debug else "")
                k = healthy(cpus=4, cpu=NO_LA57, cmdline=cmdline)
                equal(heap_kind_of(k), (kind, "spin", "on" if debug else "off"), "heap")
                over_span = "arena" if kind == "heap" else kind
                expect(f", 1000 pages, {over_span}\n" in k.text, "kind of the mapped heap")
            case(f"heap-{kind}" + ("-debug" if debug else ""), quick=not debug)(run)


heaps()


@case("heap-behind-a-ticket-lock")
def _():
    k = healthy(cpus=2, cpu=NO_LA57, cmdline="heap-lock=ticket")
    equal(heap_kind_of(k), ("heap", "ticket", "off"), "heap")


@case("arena-behind-a-ticket-lock")
def _():
    k = healthy(cpus=2, cpu=NO_LA57, cmdline="heap=arena heap-lock=ticket")
    equal(heap_kind_of(k), ("arena", "ticket", "off"), "heap")
    equal(heap_of(k)[1], 4 * MIB, "heap bytes")


@case("heap-nonsense")
def _():
    for word in ("heap=nonsense", "heap=none", "heap-lock=nonsense"):
        k = passed(boot(cmdline=f"demo=box {word}"))
        expect(f"WARN  not understood on the command line: {word}\n" in k.text, k.tail())


@case("heap-bump-gives-everything-back", quick=True)
def _():
    """Without symbols, which live for ever: all that demos and self-tests took is free."""
    status, text = interactive(["demos", "selftest", "heap", "poweroff"], cpus=4,
                               cmdline="shell heap=bump shim.no=file")
    equal(status, 33, f"status; {text[-200:]}")
    expect("after all demos: audit sound" in text, text[-400:])
    expect("selftest heap-stress ok" in text, text[-400:])
    expect("INFO  heap: bump, 0 bytes in 0 blocks, at most " in text, text[-400:])
    given, taken = re.search(r"heap: (\d+) allocations, (\d+) frees, \d+ resizes, \d+ refusals",
                             text).groups()
    expect(given == taken and int(given) > 4000, f"{given} allocations, {taken} frees")


@case("heap-chosen-when-built", quick=True)
def _():
    """make HEAP=...: another kind is another kernel, without a clean build."""
    build = os.path.join(lab.SCRATCH, "built")
    shutil.copytree(os.path.join(lab.BUILD, "kernel"), os.path.join(build, "kernel"))

    def make(kind):
        return subprocess.run(["make", "-s", "-C", ROOT, "-f", "kernel/kernel.mk",
                               f"BUILD={build}", f"HEAP={kind}", f"{build}/kernel.elf"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for kind in ("freelist", "bump"):
        made = make(kind)
        equal(made.returncode, 0, f"make HEAP={kind}: {made.stdout.decode()[-300:]}")
        with open(f"{build}/kernel.elf", "rb") as f:
            k = passed(boot(kernel=f.read(), cpu=NO_LA57, cmdline="demo=box"))
        equal(heap_kind_of(k)[0], kind, "heap")
    expect(b"must be one of bump freelist block arena heap" in make("slab").stdout, "HEAP=slab")


@case("heap-of-1M", quick=True)
def _():
    k = passed(boot(cpu=NO_LA57, cmdline="heap=arena heap=1M"))
    equal(heap_of(k)[1], MIB, "heap bytes")
    equal(k.owners["heap"], MIB, "heap bytes in the books")


@case("heap-of-64K")
def _():
    k = passed(boot(cpu=NO_LA57, cmdline="heap=arena heap=64K demo=vec"))
    equal(heap_of(k)[1], 65536, "heap bytes")


@case("heap-larger-than-memory", quick=True)
def _():
    k = passed(boot(cpu=NO_LA57, memory="64M", cmdline="heap=arena heap=1G"))
    wanted, got = k.fields(r"WARN  heap: (\d+) bytes were wanted, there was room for (\d+)")
    equal((wanted, got), (1 << 30, heap_of(k)[1]), "heap bytes wanted and got")
    expect(16 * MIB < got <= k.map["usable"] // 2, f"heap of {got} bytes")
    check_books(k)


@case("heap-smaller-for-want-of-memory", quick=True)
def _():
    k = passed(boot(cpu=NO_LA57, memory="16M", cmdline="heap=arena shim.limit=8M"))
    wanted, got = k.fields(r"WARN  heap: (\d+) bytes were wanted, there was room for (\d+)")
    equal((wanted, got), (4 * MIB, heap_of(k)[1]), "heap bytes wanted and got")
    check_books(k)
    check_selftests(k)


@case("heap-that-grows-in-8M", quick=True)
def _():
    k = passed(boot(cpu=NO_LA57, memory="16M", cmdline="heap=heap shim.limit=8M"))
    equal((heap_of(k)[1], heap_kind_of(k)[0]), (PAGE, "heap"), "heap")
    check_books(k)
    check_selftests(k)


def interactive(lines, cpus=2, cmdline="shell"):
    """Type each line at the prompt; the whole output and the exit status."""
    command = [lab.QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-no-reboot", "-accel", "tcg",
               "-M", "q35", "-cpu", NO_LA57, "-m", "128M", "-smp", str(cpus),
               "-kernel", os.path.join(lab.BUILD, "boot", "shim.elf"),
               "-initrd", os.path.join(lab.BUILD, "kernel.elf"), "-append", cmdline]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    timer = threading.Timer(120, process.kill)
    timer.start()
    text, typed = b"", 0
    while chunk := process.stdout.read1(65536):
        text += chunk
        if text.count(b"loam> ") > typed and typed < len(lines):
            process.stdin.write(lines[typed].encode() + b"\r")
            process.stdin.flush()
            typed += 1
    status = process.wait()
    timer.cancel()
    return status, text.decode("latin-1").replace("\r", "")


def check_map(text):
    """The dump of the page tables: its form, its sums, and what it must name."""
    rows = re.findall(r"^0x([0-9a-f]{16})-0x([0-9a-f]{16}) +[\d.]+ [KMGT]iB ([124])( [KMG]iB) "
                      r"(WB|UC|WC) +(r[w-][x-][u-][g-])  0x([0-9a-f]{16})  (\w.*?) +of (\w.*)$",
                      text, re.MULTILINE)
    rows = [(int(first, 16), int(last, 16) + 1, rights, int(phys, 16), name, rest)
            for first, last, _, _, _, rights, phys, name, rest in rows]
    lines = text[text.index("first-last "):text.index("INFO  lint: sound")].split("\n")
    equal(len(rows), len(lines) - 3, f"lines of the form wanted, in {lines}")
    for (_, end, *_), (start, *_) in zip(rows, rows[1:]):
        expect(end <= start, f"lines at {start:#x}")
    count, aliased, both, users = re.search(
        r"^(\d+) ranges, [\d.]+ \w+, of which direct map [\d.]+ \w+; (\d+) aliased, "
        r"(\d+) writable and executable, (\d+) for users$", text, re.MULTILINE).groups()
    equal((int(count), aliased, both, users), (len(rows), "0", "0", "0"), "sums")
    base = symbol("kernel_text_start")
    wanted = {base: ("r-x-g", "kernel text", "executable"),
              symbol("kernel_rodata_start"): ("r---g", "kernel constants", "executable"),
              symbol("kernel_data_start"): ("rw--g", "kernel data", "executable"),
              0xFFFFFFFFC0000000: ("rw--g", "local APIC", "nobody"),
              0xFFFFFFFFD0001000: ("rw--g", "stacks", "kernel")}
    for start, _, rights, phys, name, rest in rows:
        if start in wanted:
            equal((rights, name, rest), wanted.pop(start), f"line at {start:#x}")
        elif start >> 47 == 0x1FFFF and start < 0xFFFFC00000000000:
            equal((name, start - phys), ("direct map", 0xFFFF800000000000), f"line at {start:#x}")
    equal(wanted, {}, "lines that are missing")


@case("shell", quick=True)
def _():
    status, text = interactive(["", "help", "cpus", "numa", "map", "heap", "demos", "demo box",
                                "demo", "selftest", "reclaim", "usage", "reclaim", "x\bnonsense",
                                "poweroff"])
    equal(status, 33, f"status; {text[-200:]}")
    for words in ("the page tables, range by range", "CPU 1: local APIC id 1, ready",
                  "INFO  numa: no nodes",
                  "after all demos: audit sound", "demo box ok", "a text that grows by appending",
                  "selftest stress ok", "INFO  reclaimed ", "INFO  audit: sound",
                  "INFO  heap: heap, ", " pages, of which ", "reclaim refused: ",
                  "ERROR unknown: nonsense; try help"):
        expect(words in text, f"no {words!r} in what the shell says")
    check_map(text)
    equal(sum(f"selftest {name} ok" in text for name in SELFTESTS), len(SELFTESTS), "self-tests")


@case("shell-fault")
def _():
    status, text = interactive(["fault", "fault 0xffffffff80000000", "fault write:0x20"])
    equal(status, 35, "status")
    for words in ("ERROR fault [read:|write:|execute:]ADDRESS", "no fault: 0xffffffff80000000",
                  "panic: page fault: write at 0x0000000000000020: not mapped"):
        expect(words in text, f"no {words!r} in what the shell says")


# ---- the README's example ---------------------------------------------------------------------


def embed(cmdline=""):
    with open(os.path.join(lab.BUILD, "embed.elf"), "rb") as f:
        return boot(kernel=f.read(), cmdline=cmdline, cpu=NO_LA57)


@case("embed", quick=True)
def _():
    k = embed()
    equal((k.status, k.text.strip()), (33, "Hello from the heap!"), "status and output")


@case("embed-refused")
def _():
    k = embed("shim.no=hhdm")
    equal((k.status, k.text.strip()), (35, "limine: no HHDM response"), "status and output")


# ---- from a disc ------------------------------------------------------------------------------


def disc(name, limine, extra):
    """Make an image with GRUB or Limine, boot it, check everything."""
    iso = os.path.join(lab.SCRATCH, f"{name}.iso")
    subprocess.run(["make", "-s", "-C", ROOT, "-f", "boot/boot.mk", "-f", "boot/iso.mk", "iso",
                    f"BUILD={lab.BUILD}", f"ISO={iso}", f"LIMINE_DIR={limine}"], check=True,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    k = Kernel(lab.run_qemu(["-cpu", NO_LA57, "-m", "512M", "-smp", "2", "-vga", "std",
                             "-cdrom", iso] + extra, 180))
    k.text = k.text[max(k.text.find("INFO  Hello World!"), 0):]
    check_all(k, 2, None, revision=k.field(r"base revision (\d+)"))
    expect(k.owners.get("framebuffer", 0) > 0, "no framebuffer")


def discs():
    loaders = []
    if os.environ.get("LIMINE_DIR"):
        loaders += [("limine", os.environ["LIMINE_DIR"])]
    if shutil.which("grub-mkrescue") is None:
        print("skipped: the GRUB cases, no grub-mkrescue")
    else:
        loaders += [("grub", "")]
    for loader, directory in loaders:
        for machine in ("pc", "q35"):
            case(f"{loader}-bios-{machine}")(
                lambda name=f"{loader}-bios-{machine}", directory=directory, machine=machine:
                disc(name, directory, ["-M", machine]))
        if not os.path.exists(OVMF_CODE):
            print(f"skipped: {loader}-uefi, no OVMF")
            continue

        def uefi(name=f"{loader}-uefi", directory=directory):
            with open(OVMF_VARS, "rb") as f:
                variables = lab.scratch(f"{name}-vars.fd", f.read())
            disc(name, directory, [
                "-M", "q35", "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF_CODE}",
                "-drive", f"if=pflash,format=raw,file={variables}"])
        case(f"{loader}-uefi")(uefi)


discs()


# ---- running -------------------------------------------------------------------------------------


def attempt(entry):
    name, _, function = entry
    try:
        function()
        return name, None
    except AssertionError as error:
        return name, str(error)
    except Exception as error:  # a broken test is a failed one
        return name, f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.environ.get("BUILD", "build"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("substring", nargs="?", default="")
    options = parser.parse_args()
    lab.BUILD = os.path.abspath(options.build)
    chosen = [c for c in CASES if options.substring in c[0] and (c[1] or not options.quick)]
    count = 0
    with tempfile.TemporaryDirectory(prefix="kernel-test-") as directory, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        lab.SCRATCH = directory
        for name, why in pool.map(attempt, chosen):
            count += why is not None
            print(f"ok {name}" if why is None else f"not ok {name}: {why}", flush=True)
    if not chosen:
        print(f"not ok: no case contains {options.substring!r}")
        count = 1
    print(f"{len(chosen) - count if chosen else 0} passed, {count} failed")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
