"""Cases of kernel_test.py in which something is wrong: rules that are broken on purpose
and the report of it, and bad input from the bootloader."""
from kernel_machine import (
    NO_LA57, boot, case, check_books, check_hellos, check_selftests, check_tables, equal, expect,
    failed, healthy, heap_kind_of, heap_places, passed, symbol)

# ---- reports -----------------------------------------------------------------------------


def report(cmdline, rule, *places, cpus=2, cpu=0):
    """The kernel must stop with the rule, name these functions, and no other CPU may go on."""
    k = failed(boot(cpus=cpus, cpu=NO_LA57, cmdline=cmdline), f"panic: {rule}")
    trace = k.all(r"ERROR +#\d+ +[0-9a-f]{16} (\w+)(?:\.\w+)*\+0x")
    for place in places:
        expect(place in trace, f"{place} is not in the backtrace {trace}")
    equal(k.fields(r"ERROR   on CPU (\d+), (\d+) others stopped"), [cpu, cpus - 1],
          "CPU that reports, and others that stand still")
    lines = k.text[k.text.index("ERROR panic: "):].split("\n")
    others = [line for line in lines if line and not line.startswith("ERROR ")]
    equal(others, [], "what others said after the panic")
    pointer, = k.all(r"ERROR   rip ([0-9a-f]{16}) ")
    first, = k.all(r"ERROR +#0 +([0-9a-f]{16})")
    equal(first, pointer, "place in the backtrace and instruction pointer")
    expect("cr3 " in k.text, "no registers")
    expect("panic inside" not in k.text, "a panic inside the report")
    return k


@case("panic", quick=True)
def _():
    k = report("panic", "kernel: it was asked to panic", "panic_now", "provoke_panic", "run",
               cpus=4)
    equal(sorted(set(k.all(r"CPU (\d) is busy"))), ["1", "2", "3"], "CPUs that were busy")
    expect("checked at kernel/provoke.c:" in k.text, "no place in the sources")
    expect("subject 0x1234, detail 0x5678" in k.text, "no subject")


@case("panic-of-another-cpu", quick=True)
def _():
    report("panic=2", "kernel: it was asked to panic", "panic_now", "main_of_cpu", cpus=3, cpu=2)


@case("T04_a_cpu_that_does_not_answer")
def _():
    k = report("deaf", "tlb: CPU 1 does not answer a flush request", "loam_port_tlb_flush",
               "provoke_deafness", "run")
    expect("subject 0x1, detail 0x1" in k.text, "which CPU?")


@case("panic-without-symbols")
def _():
    k = failed(boot(cpu=NO_LA57, cmdline="shim.no=file panic"), "panic: kernel: it was asked")
    expect("the bootloader shows no executable file" in k.text, k.tail())
    expect(len(k.all(r"#\d+ +[0-9a-f]{16}\n")) >= 2, "no bare backtrace")


BLOCK_BYTES = 28  # kernel/provoke.c


def misuse(kind, word, rule, where, size=None):
    """Misuse of the heap: the report names block, size and rule; with debug, all sites."""
    debug = rule.startswith("debug: ")
    k = report(f"heap={kind} {'heap-debug ' if debug else ''}{word}", rule, where, "run",
               "loam_free_sized" if word == "heap-wrong-size" else "loam_free")
    subject, detail = k.fields(r"subject (0x[0-9a-f]+), detail (0x[0-9a-f]+)")
    start, length = heap_places(k)
    expect(start <= subject < start + length, f"subject {subject:#x} is not in the heap")
    owner = "usable" if kind == "heap" else "heap"  # of the interval: single frames are counted
    expect(k.all(r"ERROR   owner: (\w+), 0x") == [owner], "owner of the subject")
    equal(heap_kind_of(k), (kind, "spin", "on" if debug else "off"), "heap")
    if size is not None:
        equal(detail, size, "detail: the block's size")
    if debug:
        equal(k.fields(r"ERROR   block (0x[0-9a-f]+), (\d+) bytes"), [subject, BLOCK_BYTES],
              "block and size")
        sites = {what.strip(): name for what, name in
                 k.all(r"ERROR     ([a-z ]+) [0-9a-f]{16} (\w+)\+0x")}
        wanted = {"allocated at": where, "found at": where}
        if word == "doublefree":
            wanted["freed at"] = where
        equal(sites, wanted, "sites")


def misuses():
    free, wide, size = "doublefree", "heap-overflow", "heap-wrong-size"
    places = {free: "provoke_double_free", wide: "provoke_heap_overflow",
              size: "provoke_heap_wrong_size"}
    rows = [  # what bump and block do not see is in their headers
        ("bump", free, "bump: not a block of this heap", None),
        ("bump", size, "bump: wrong size", BLOCK_BYTES),
        ("freelist", free, "freelist: block is already free", None),
        ("freelist", wide, "freelist: block overflowed", BLOCK_BYTES),
        ("freelist", size, "freelist: wrong size", BLOCK_BYTES),
        ("block", free, "block: block is already free", None),
        ("block", size, "block: wrong size", 32),
        ("arena", free, "arena: block is already free", None),
        ("arena", wide, "arena: block overflowed", BLOCK_BYTES),
        ("arena", size, "arena: wrong size", BLOCK_BYTES),
        ("heap", free, "heap: already free", 0),
        ("heap", size, "heap: wrong size", 32),
        ("heap", free, "debug: block is already free", None),
        ("heap", wide, "debug: block was written past its end", None),
        ("bump", wide, "debug: block was written past its end", None),
        ("block", wide, "debug: block was written past its end", None),
        ("arena", free, "debug: block is already free", None),
        ("arena", size, "debug: wrong size", None),
    ]
    for kind, word, rule, detail in rows:
        name = f"{word}-{kind}" + ("-debug" if rule.startswith("debug: ") else "")
        case(name, quick=kind in ("arena", "heap"))(
            lambda kind=kind, word=word, rule=rule, detail=detail:
            misuse(kind, word, rule, places[word], detail))


misuses()


def explained(k):
    """(level, where the entry lies, the entry) of each level in a report, from the root down."""
    found = k.all(r"ERROR   level (\d), entry \d+ at (0x[0-9a-f]{16}): (0x[0-9a-f]{16}) ")
    return [(int(level), int(at, 16), int(entry, 16)) for level, at, entry in found]


@case("stack-overflow-S01", quick=True)
def _():
    k = report("overflow", "page fault: write at 0xffffffffd0000", "use_stack")
    expect("stack overflow of the main stack of CPU 0" in k.text, "no word of the overflow")
    equal(explained(k)[-1][0], 1, "level that has nothing")
    expect("where: stacks from 0xffffffffd0000000" in k.text, "where is it?")


@case("fault-under-a-wild-frame-pointer", quick=True)
def _():
    k = report("wildframe", "page fault: read at 0x0000000007777000: not mapped",
               "provoke_wild_frame")
    equal(len(k.all(r"ERROR +#\d+ ")), 1, "places in the backtrace")


@case("fault-near-null", quick=True)
def _():
    k = report("fault=0x10", "page fault: read at 0x0000000000000010: not mapped", "provoke_fault",
               "run")
    equal(len(explained(k)), 1, "levels")
    expect("why: nothing is mapped there, the entry is not present at level 4" in k.text, "why?")
    expect("near null, perhaps member 0x0000000000000010 of" in k.text, "no hint")


@case("fault-write-to-text", quick=True)
def _():
    text = symbol("kernel_text_start")
    k = report(f"fault=write:{text:#x}", f"page fault: write at {text:#018x}: the mapping does not",
               "provoke_fault")
    phys, = k.fields(r"kernel image: 0x[0-9a-f]+, physical (0x[0-9a-f]+)")
    steps = explained(k)
    equal([level for level, *_ in steps], [4, 3, 2, 1], "levels")
    for (_, _, table), (_, at, _) in zip(steps, steps[1:]):
        equal(at & ~0xFFF, table & 0xFFFFFFFFFF000, "table that an entry names")
    equal(steps[0][1] & ~0xFFF, int(k.all(r"cr3 ([0-9a-f]{16})")[0], 16) & ~0xFFF, "root")
    equal([index for index in (steps[0][1] & 0xFFF, steps[3][1] & 0xFFF)],
          [(text >> shift & 511) * 8 for shift in (39, 12)], "entries of root and lowest table")
    equal(steps[3][2] & 0xFFFFFFFFFF000, phys, "page that the last entry names")
    expect(f"4 KiB page at {phys:#018x}, r-x-g WB" in k.text, "what is mapped?")
    expect("why: the page is read-only, writing is not allowed at level 1" in k.text, "why?")
    expect("where: kernel text from 0xffffffff80000000" in k.text, "where is it?")
    expect(f"memory: physical {phys:#018x}\n" in k.text, "memory behind")
    equal(k.all(r"ERROR   owner: (\w+), 0x"), ["executable"], "owner")
    expect("code and constants of the kernel are read-only" in k.text, "no hint")


@case("fault-write-through-the-direct-map")
def _():
    plain = passed(boot(cpu=NO_LA57, cmdline="demo=box"))
    phys, = plain.fields(r"kernel image: 0x[0-9a-f]+, physical (0x[0-9a-f]+)")
    alias = phys + 0xFFFF800000000000
    k = report(f"fault=write:{alias:#x}", f"page fault: write at {alias:#018x}: the mapping does",
               cpus=1)
    expect(", r---g WB" in k.text, "rights of the alias")
    expect("where: direct map from 0xffff800000000000" in k.text, "where is it?")
    equal(k.all(r"ERROR   owner: (\w+), 0x"), ["executable"], "owner")


@case("fault-execute-data", quick=True)
def _():
    data = symbol("kernel_data_start")
    k = report(f"fault=execute:{data:#x}", f"page fault: execution at {data:#018x}: the mapping",
               "run")
    expect(", rw--g WB" in k.text, "rights of data")
    expect("why: the page is not executable, forbidden at level 1" in k.text, "why?")
    expect("data is never executable" in k.text, "no hint")


@case("fault-mmio-through-the-direct-map", quick=True)
def _():
    k = report("fault=0xffff8000fed1c010", "page fault: read at 0xffff8000fed1c010: not mapped")
    expect("memory: physical 0x00000000fed1c010 would be shown there" in k.text, "no hint")
    expect("the direct map does not show memory of this owner" in k.text, "no hint")
    equal(k.all(r"ERROR   owner: (\w+), 0x"), ["reserved"], "owner")


@case("fault-not-canonical")
def _():
    report("fault=0x8000000000000000", "general protection, vector 13", "provoke_fault")


@case("no-fault-is-no-success")
def _():
    failed(boot(cmdline=f"fault={symbol('kernel_text_start'):#x}"), "no fault: ")


# ---- bad input -----------------------------------------------------------------------------


def refusals():
    refused = {
        "no-hhdm": ("shim.no=hhdm", "limine: no HHDM response"),
        "no-memmap": ("shim.no=memmap", "limine: no memory map response"),
        "no-executable-address": ("shim.no=address", "limine: no executable address response"),
        "memmap_M01_no_entries": ("shim.map=empty", "limine: the memory map has no entry"),
        "memmap_M02_nothing_usable": ("shim.map=none", "loam: no usable memory"),
        "heap-without-sizes": ("heap=freelist-sized", "loam: a heap that must be told sizes"),
        "memmap_M22_too_many_entries": ("shim.entries=5000", "more entries than there is room for"),
    }
    for name, (cmdline, words) in refused.items():
        def run(cmdline=cmdline, words=words):
            k = failed(boot(cpus=2, cpu=NO_LA57, cmdline=cmdline), words)
            expect(" refused (" in k.text, k.tail())
            expect("Hello from" not in k.text, "it went on all the same")
            return k
        case(name, quick=True)(run)


refusals()


@case("memmap_M22_names_entries_and_room")
def _():
    k = failed(boot(cpu=NO_LA57, cmdline="shim.entries=5000"), "more entries than")
    have, need = k.fields(r"room for: have (\d+) .*need (\d+)")
    expect(5000 <= have <= 5030 and need == 1024, f"have {have}, need {need}")


@case("memmap_M22_900_entries_boot")
def _():
    k = passed(boot(cpus=2, cpu=NO_LA57, cmdline="shim.entries=900"))
    check_books(k)
    check_tables(k, 6)
    check_selftests(k)


def unanswered():
    for name in ("mp", "file", "cmdline", "info", "paging", "stack", "rsdp", "framebuffer",
                 "modules"):
        def run(name=name):
            k = passed(boot(cpus=2, cpu=NO_LA57, cmdline=f"shim.no={name}"))
            check_hellos(k, 1 if name == "mp" else 2)
            check_books(k)
            check_selftests(k)
        case(f"no-{name}", quick=name == "mp")(run)


unanswered()

CLEAR = 0x1000000  # usable on every machine of 64 MiB and more


def extra_entries():
    def gains(k, plain, **bytes_of):
        for kind, change in bytes_of.items():
            equal(k.map.get(kind, 0) - plain.map.get(kind, 0), change, f"{kind} bytes")

    def overlap(k, plain):
        gains(k, plain, usable=-0x2000, reserved=0x2000)
        expect(k.repairs["overlap"] >= 1 and k.repairs["grown"] >= 2, k.repairs)

    def wrap(k, plain):
        gains(k, plain, usable=0)
        expect(k.repairs["wrap"] == 1 and k.repairs["limit"] >= 1, k.repairs)

    def empty(k, plain):
        gains(k, plain, usable=0, reserved=0)
        equal(k.repairs["empty"], 1, "empty entries")

    def unknown(k, plain):
        gains(k, plain, usable=-0x1000, reserved=0x1000)
        expect(k.repairs["overlap"] >= 1, k.repairs)

    def bad_wins(k, plain):
        gains(k, plain, usable=-0x3000, bad=0x1000, framebuffer=0x1000, reserved=0x1000)

    def page_zero(k, plain):
        expect(k.intervals[0][0] == 0 and k.intervals[0][2] == "reserved", k.intervals[0])
        expect("page-zero" in k.repairs or "overlap" in k.repairs, k.repairs)

    extras = {
        "M11_reserved_over_usable": (f"1:{CLEAR:x}:1234", overlap),
        "M06_wrap_is_clipped": ("1:fffffffffffff000:2000", wrap),
        "M05_zero_length": (f"1:{CLEAR:x}:0", empty),
        "M15_unknown_type": (f"4d:{CLEAR:x}:1000", unknown),
        "M13_three_types_on_a_page":
            (f"1:{CLEAR:x}:3000,7:{CLEAR + 0x1000:x}:2000,4:{CLEAR + 0x2000:x}:1000", bad_wins),
        "M20_page_zero_is_kept": ("0:0:1000", page_zero),
    }
    for name, (entries, check) in extras.items():
        def run(entries=entries, check=check):
            plain = passed(boot(memory="128M", cpu=NO_LA57, cmdline="demo=usage"))
            k = passed(boot(memory="128M", cpu=NO_LA57, cmdline=f"shim.extra={entries}"))
            check_books(k)
            check_selftests(k)
            check(k, plain)
        case(f"memmap_{name}", quick=name.startswith(("M11", "M06")))(run)


extra_entries()


@case("M25_memory_that_is_not_there_is_found_when_asked", quick=True)
def _():
    plain = passed(boot(memory="128M", cpu=NO_LA57, cmdline="demo=usage"))
    k = passed(boot(memory="128M", cpu=NO_LA57,
                    cmdline="probe shim.phantom=140000000:5000"))
    check_books(k)
    check_selftests(k)
    equal(k.map.get("bad", 0), 0x5000, "bytes that do not hold what is written")
    def ram(boot):
        return boot.map["usable"] + boot.map["bootloader-reclaimable"]
    equal(ram(k), ram(plain), "usable bytes and the bootloader's")


@case("D05_direct_map_ends_just_below_the_image", quick=True)
def _():
    healthy(memory="512M", cpu=NO_LA57, cmdline="shim.hhdm=ffffffff60000000",
            hhdm=0xFFFFFFFF60000000)
