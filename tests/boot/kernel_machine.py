"""What kernel_test.py stands on: booting the kernel, reading what it says, and what
must hold on every boot."""
import os
import re
import struct

import shim_machine as lab
from shim_machine import GIB, MIB, PAGE, equal, expect

NO_LA57 = "max,la57=off"
PASSED, FAILED = 33, 35
PAT = 0x0000010500070406
SPARE_TABLES = 16  # loam.c keeps these in stock
STACKS = 0xFFFFFFFFD0000000  # kernel/layout.h

DEMOS = ["box", "vec", "strings", "string", "mapping", "heap-at-0x8000000", "heaps",
         "pairs", "shootdown", "cow", "wc", "usage"]
SELFTESTS = ["audit", "init-twice", "malloc", "write-xor-execute", "text-aliases", "no-execute",
             "guards", "framebuffer", "registers", "tlb-remap", "tlb-unmap", "tlb-protect",
             "paging", "stress", "heap-stress", "frames", "zeroed", "numa", "symbols"]
HEAPS = ["bump", "freelist", "block", "arena", "heap"]
# Bytes between two blocks, at least; more with the debug layer.
HEADER_BYTES = {"bump": 0, "freelist": 16, "block": 0, "arena": 4, "heap": 0}
INSIDE_MIN, CROSS_MIN = 20, 1000  # kernel/selftest_heap_stress.c, selftest_frames.c
DRAINS_MIN = 20
SOAK_MIN = [20, 50, 10]  # kernel/selftest_paging.c
SHOOTDOWN_ROUNDS = 50  # kernel/demo_shootdown.c

# The memory map's types and the owners of the usage table.
OWNER_OF = {
    "bootloader-reclaimable": "bootloader", "executable": "executable", "bad": "bad",
    "acpi-reclaimable": "ACPI tables", "reserved-mapped": "firmware tables",
    "acpi-nvs": "ACPI NVS", "reserved": "reserved", "framebuffer": "framebuffer",
}
FROM_USABLE = ("usable", "page tables", "heap", "library metadata", "kernel")

CASES = []  # (name, is it one of the quick ones, function)


def case(name, quick=False):
    def add(function):
        CASES.append((name, quick, function))
        return function
    return add


class Kernel:
    """One boot: exit status and what was said."""

    def __init__(self, run):
        self.status = run.status
        self.text = run.text.replace("\r", "")
        self.map = {kind: int(n) for n, kind in
                    re.findall(r"memory map: (\d+) bytes ([\w-]+)\n", self.text)}
        self.repairs = {kind: int(n) for n, kind in
                        re.findall(r"memory map: (\d+) times repaired: ([\w-]+)\n", self.text)}
        self.intervals = [(int(a, 16), int(b, 16) + 1, owner) for a, b, owner in re.findall(
            r"    start: (0x[0-9a-f]+), end: (0x[0-9a-f]+): ([\w ]+)\n", self.text)]
        self.demos = re.findall(r"INFO  demo (\S+) ok\n", self.text)
        self.selftests = re.findall(r"INFO  selftest (\S+) ok\n", self.text)
        self.tables = self.read_tables()
        self.owners = self.tables[0] if self.tables else {}

    def read_tables(self):
        """Bytes by owner of each usage table; of which in single frames: self.frames."""
        tables, counts, frames, sums = [], [], [], []
        for block in self.text.split("owner             intervals")[1:]:
            rows = re.findall(r"^([A-Za-z ]+?) +(\d+) +(\d+) +(\d+) +(\d+) +"
                              r"[\d.]+ (?:[KMGTPE]iB|B)", block, re.MULTILINE)
            end = next((i for i, row in enumerate(rows) if row[0] == "sum"), None)
            expect(end is not None, "a usage table without a sum")
            for owner, *numbers in rows[:end + 1]:
                _, in_ranges, in_frames, size = (int(n) for n in numbers)
                equal(in_ranges + in_frames, size, f"bytes of {owner}")
            tables.append({row[0]: int(row[4]) for row in rows[:end]})
            counts.append({row[0]: int(row[1]) for row in rows[:end]})
            frames.append({row[0]: int(row[3]) for row in rows[:end]})
            sums.append(tuple(int(rows[end][i]) for i in (1, 3, 4)))
        self.counts, self.frames, self.sums = counts, frames, sums
        return tables

    def all(self, pattern):
        return re.findall(pattern, self.text)

    def fields(self, pattern):
        found = re.search(pattern, self.text)
        expect(found, f"no {pattern!r} in the output; status {self.status}: {self.tail()}")
        return [int(n, 0) for n in found.groups()]

    def field(self, pattern):
        return self.fields(pattern)[0]

    def tail(self):
        return " / ".join(self.text.split("\n")[-5:])[-400:]


def boot(kernel=None, **how):
    how.setdefault("timeout", 120)
    if kernel is None:
        with open(os.path.join(lab.BUILD, "kernel.elf"), "rb") as f:
            kernel = f.read()
    return Kernel(lab.boot(kernel=kernel, **how))


def passed(k):
    trouble = k.all(r"(?:ERROR|shim:).*")
    expect(not trouble, "; ".join(trouble[:4]))
    expect(k.status == PASSED, f"status {k.status}: {k.tail()}")
    expect("Hello World! This is Loam " in k.text.lstrip().split("\n")[0], "the first line")
    return k


def failed(k, words):
    """It must say why, and leave with the failing status: no reset, no hang."""
    expect(words in k.text, f"wanted {words!r}, status {k.status}: {k.tail()}")
    equal(k.status, FAILED, "status")
    return k


def heap_of(k):
    start, end, size = k.fields(r"heap: (0x[0-9a-f]+)\.\.(0x[0-9a-f]+), (\d+) bytes")
    equal(end - start, size, "heap bytes")
    return start, size


def heap_kind_of(k):
    """(kind, lock, "on" or "off" for the debug layer)"""
    found = re.search(r"heap: 0x\w+\.\.0x\w+, \d+ bytes, (\w+), (\w+) lock, debug (on|off)\n",
                      k.text)
    expect(found, "no word of the heap's kind")
    return found.groups()


def heap_bytes_at_boot(k):
    """What is set aside for a heap that grows: 8 bytes for each 2 MiB, up to where RAM ends."""
    end = max(b for _, b, owner in k.intervals if owner in FROM_USABLE + ("bootloader",))
    return -(-(-(-end // (2 * MIB)) * 8) // PAGE) * PAGE


def heap_places(k):
    """(start, bytes) of where blocks can lie; of a heap that grows: in the direct map."""
    if heap_kind_of(k)[0] != "heap":
        return heap_of(k)
    return k.field(r"HHDM offset: (0x[0-9a-f]+)"), 1 << 46


# ---- the kernel's ELF file ---------------------------------------------------------


def symbol(name):
    with open(os.path.join(lab.BUILD, "kernel.elf"), "rb") as f:
        data = f.read()
    start, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    table = next(s for s in sections if s[1] == 2)
    names = sections[table[6]]
    for at in range(table[4], table[4] + table[5], 24):
        offset, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", data, at)
        text = data[names[4] + offset:data.index(b"\0", names[4] + offset)]
        if text.decode() == name:
            return value
    raise AssertionError(f"no symbol {name} in kernel.elf")


# ---- what must hold ------------------------------------------------------------------


def check_machine(k, cpus, hhdm=0xFFFF800000000000):
    offset = k.field(r"HHDM offset: (0x[0-9a-f]{16})\n")
    expect(hhdm is None or offset == hhdm, f"HHDM offset: got {offset:#x}, wanted {hhdm}")
    equal(k.field(r"CPU count: (\d+)"), cpus, "CPUs")


def check_timer(k):
    """The local APIC's, which QEMU drives with 1 GHz / 16; a host that is busy adds to it."""
    ticks = k.field(r"INFO  timer: (\d+) ticks in a hundredth of a second\n")
    expect(624000 <= ticks <= 1250000, f"{ticks} ticks, 625000 are right")


def check_hellos(k, cpus):
    hellos = sorted(int(n) for n in k.all(r"INFO  Hello from CPU (\d+)\n"))
    equal(hellos, list(range(cpus)), "hellos")


def check_books(k):
    """Sums of the usage tables, against the memory map and the intervals."""
    for table, count, frames, total in zip(k.tables, k.counts, k.frames, k.sums):
        equal((sum(count.values()), sum(frames.values()), sum(table.values())), total,
              "sum of a usage table")
        equal(total[2], sum(k.map.values()), "bytes in the usage table and in the memory map")
        equal(frames.get("usable", 0), 0, "single frames of nobody")
    first = k.tables[0]
    for kind, owner in OWNER_OF.items():
        equal(first.get(owner, 0), k.map.get(kind, 0), f"bytes of {owner}")
    equal(sum(first.get(o, 0) for o in FROM_USABLE), k.map["usable"], "bytes that were usable")
    equal(first["page tables"] % PAGE, 0, "page tables")
    equal(first["heap"] - k.frames[0]["heap"], heap_of(k)[1], "heap bytes")
    if heap_kind_of(k)[0] != "heap":
        equal(k.frames[0]["heap"], 0, "single frames of a heap in a span")
    if not k.intervals:
        return
    last, frames = k.tables[-1], k.frames[-1]
    for owner in last:
        pieces = [b - a for a, b, o in k.intervals if o == owner]
        # Single frames lie in usable intervals.
        wanted = last[owner] + (sum(frames.values()) if owner == "usable" else -frames[owner])
        equal((sum(pieces), len(pieces)), (wanted, k.counts[-1][owner]), f"bytes of {owner}")
    for (_, end, owner), (start, _, after) in zip(k.intervals, k.intervals[1:]):
        expect(end < start or (end == start and owner != after), f"intervals at {start:#x}")
    hhdm = k.field(r"HHDM offset: (0x[0-9a-f]+)")
    start, size = heap_of(k)
    expect((start - hhdm, start - hhdm + size, "heap") in k.intervals, "the heap's own interval")


def largest_pages(virt, phys, size, gigabytes):
    """(address, page size) of a run mapped with the largest pages that fit."""
    while size > 0:
        for page in ((GIB,) if gigabytes else ()) + (2 * MIB, PAGE):
            if virt % page == 0 and phys % page == 0 and size >= page:
                break
        yield virt, page
        virt, phys, size = virt + page, phys + page, size - page


def pieces_of_direct_map(k, image, revision):
    """Runs of one kind and one right, as the tables must have them."""
    kinds = {"bootloader": "rw", "executable": "rw", "framebuffer": "wc"}
    kinds |= {owner: "rw" for owner in FROM_USABLE}
    if revision >= 4:
        kinds |= {"ACPI tables": "r", "ACPI NVS": "r", "firmware tables": "r"}
    for start, end, owner in k.intervals:
        if owner not in kinds:
            continue
        name = "usable" if owner in FROM_USABLE else owner
        cuts = sorted({start, end} | {at for at in image if start < at < end})
        for a, b in zip(cuts, cuts[1:]):
            yield a, b, name, image[0] <= a < image[1]


def check_tables(k, revision, levels=4):
    """The number of page tables, counted a second time from the intervals."""
    gigabytes = "1 GiB pages 1" in k.text
    hhdm = k.field(r"HHDM offset: (0x[0-9a-f]+)")
    virt, phys = k.fields(r"kernel image: (0x[0-9a-f]+), physical (0x[0-9a-f]+)")
    data = symbol("kernel_data_start") - virt + phys
    end = -(-(symbol("kernel_data_end") - virt + phys) // PAGE) * PAGE
    runs = []
    for a, b, name, is_constant in pieces_of_direct_map(k, (phys, data, end), revision):
        if runs and runs[-1][1] == a and runs[-1][2:] == (name, is_constant):
            runs[-1] = (runs[-1][0], b, name, is_constant)
        else:
            runs.append((a, b, name, is_constant))
    pages = [p for a, b, *_ in runs for p in largest_pages(hhdm + a, a, b - a, gigabytes)]
    pages += [(virt + at, PAGE) for at in range(0, end - phys, PAGE)]
    pages += [(STACKS, PAGE)]
    tables = {(levels, 0)}
    for address, page in pages:
        for level in range(levels - 1, 0, -1):
            shift = 12 + 9 * level  # what one table of this level covers
            if 1 << shift > page:
                tables.add((level, address >> shift))
    said, count = k.fields(r"page tables: (\d+) levels, (\d+) tables")
    equal((said, count), (levels, len(tables)), "levels and page tables")


def check_registers(k, cpus, nx=True, levels=4):
    rows = k.all(r"INFO  CPU (\d+): PAT (0x[0-9a-f]+), EFER (0x[0-9a-f]+), CR0 (0x[0-9a-f]+), "
                 r"CR3 (0x[0-9a-f]+), CR4 (0x[0-9a-f]+)\n")
    equal([int(row[0]) for row in rows], list(range(cpus)), "CPUs whose registers are shown")
    root = k.field(r"root (0x[0-9a-f]+)")
    for row in rows:
        pat, efer, cr0, cr3, cr4 = (int(n, 16) for n in row[1:])
        who = f"of CPU {row[0]}"
        equal(pat, PAT, f"PAT {who}")
        equal(efer & 0xD00, 0xD00 if nx else 0x500, f"EFER {who}")
        equal(cr0 & 0xE0010001, 0x80010001, f"CR0 {who}")
        equal(cr3, root, f"CR3 {who}")
        equal(cr4 & 0x10A0, 0x10A0 if levels == 5 else 0x00A0, f"CR4 {who}")
        equal(cr4 & 0x300000, 0x300000 if nx else 0, f"SMEP and SMAP {who}") # max, or qemu64


def check_values(k):
    """Demos box, vec, strings and string."""
    start, size = heap_places(k)
    values = k.text[k.text.index("demo box: "):k.text.index("demo string ok")]

    def in_heap(address, room=1):
        return start <= address and address + room <= start + size

    where, value = k.fields(r"INFO  box at (0x[0-9a-f]{16}) holds (\d+)\n")
    expect(in_heap(where, 4) and value == 234, f"box at {where:#x} holds {value}")
    where, = k.fields(r"struct at (0x[0-9a-f]{16}) holds first 1, second 2, third c\n")
    expect(in_heap(where, 16), f"struct at {where:#x}")

    first, last = k.fields(r"vec (0x[0-9a-f]{16})\.\.(0x[0-9a-f]{16}), contents:\n")
    boxes = [(int(a, 16), int(n)) for a, n in
             re.findall(r"INFO      box pointer (0x[0-9a-f]{16}), contents (\d+)\n", values)]
    equal(last - first, 5 * 8, "bytes of the array")
    equal([n for _, n in boxes], [0, 1, 2, 3, 4], "contents")
    expect(in_heap(first, 40) and all(in_heap(a, 4) for a, _ in boxes), "not in the heap")
    places = sorted([(a, a + 4) for a, _ in boxes] + [(first, last)])
    for (_, end), (after, _) in zip(places, places[1:]):
        expect(after >= end + HEADER_BYTES[heap_kind_of(k)[0]],
               f"blocks at {after:#x} without room for a header")
    equal([a % 16 for a, _ in boxes], [0] * 5, "alignment")

    where, = k.fields(r'strings at (0x[0-9a-f]{16}): \["a", "b", "c"\]\n')
    expect(in_heap(where, 24), f"strings at {where:#x}")
    where, = k.fields(r"string at (0x[0-9a-f]{16}): This is a string\.\n")
    expect(in_heap(where, 18), f"string at {where:#x}")


def check_mappings(k):
    """Demos mapping and heap-at-0x8000000."""
    hhdm = k.field(r"HHDM offset: (0x[0-9a-f]+)")
    behind, alias = k.fields(r"0xdeadbeef is mapped to physical (0x[0-9a-f]{16})\n"
                             r"INFO  the text at (0x[0-9a-f]{16}): This text was written to "
                             r"0xdeadbeef\.\nINFO  0xdeadbeef is unmapped: an access faults\n")
    equal((behind % PAGE, alias), (0xEEF, hhdm + behind), "frame behind 0xdeadbeef")
    expect(any(a <= behind < b and o == "usable" for a, b, o in k.intervals), "where is the frame?")
    if "memory for " in k.text:
        return  # too little for a second heap: it said so
    start, end, pages = k.fields(r"heap (0x[0-9a-f]+)\.\.(0x[0-9a-f]+), (\d+) pages,")
    equal((start, end, pages), (0x8000000, 0x8000000 + 1000 * PAGE, 1000), "the mapped heap")
    where = [k.field(pattern) for pattern in (
        r"struct at (0x[0-9a-f]{16}) holds left 3, right 4\n",
        r"array at (0x[0-9a-f]{16}) holds 0 10 20 30 40\n",
        r"array at (0x[0-9a-f]{16}) holds a b c d e\n")]
    expect(all(start <= a < end for a in where), "not in the mapped heap")
    expect("1000 pages unmapped and given back: an access faults" in k.text, "is it gone?")


def check_heaps(k):
    """Demo heaps: the values over each kind, on a span of its own."""
    if "no heap there\n" in k.text:
        return  # too little memory: it said so
    kinds = ["bump", "freelist", "freelist-sized", "block", "arena"]
    equal(k.all(r"INFO  ([\w-]+): 11 blocks came and went, all is free again\n"), kinds, "kinds")
    text = k.text[k.text.index("demo heaps: "):k.text.index("demo heaps ok")]
    equal(re.findall(r"INFO  ([\w-]+) over 0x", text), kinds, "kinds, before")
    span, size = k.fields(r"INFO  bump over (0x[0-9a-f]+), (\d+) bytes\n")
    places = [int(n, 16) for n in re.findall(
        r"INFO  +(?:box|struct|strings|string|box pointer)(?: at)? (0x[0-9a-f]{16})\b", text)]
    equal(len(places), 9 * len(kinds), "places shown")
    expect(all(span <= at < span + size for at in places), "not in the private heap")
    equal(text.count("This is a string."), len(kinds), "strings")


def check_shootdown(k):
    """Demo shootdown."""
    rounds = k.field(r"INFO  8 pages at 0x\w+ were unmapped, and mapped to other frames, "
                     r"(\d+) times\n")
    equal(rounds, SHOOTDOWN_ROUNDS, "rounds")
    if "nobody else could hold a stale translation" in k.text:
        return equal(k.field(r"CPU count: (\d+)"), 1, "CPUs")
    users, reads, writes, faults, stale = k.fields(
        r"INFO  (\d+) CPUs used them: (\d+) reads, (\d+) writes, (\d+) page faults, (\d+) stale")
    equal((users, stale), (k.field(r"CPU count: (\d+)") - 1, 0), "users, and stale reads")
    expect(min(reads, faults) >= users * rounds and writes > 0,
           f"{reads} reads, {writes} writes, {faults} faults")


def check_cow(k):
    """Demo cow: pages 0 and 1 have become two, 2 and 3 are still shared."""
    rows = k.all(r"INFO  page (\d): parent (0x[0-9a-f]{16}), child (0x[0-9a-f]{16}), "
                 r"(\d) references\n")
    equal([(page, parent == child, count) for page, parent, child, count in rows],
          [("0", False, "1"), ("1", False, "1"), ("2", True, "2"), ("3", True, "2")], "pages")
    equal(len({at for _, *both, _ in rows for at in both}), 6, "frames")
    expect("INFO  2 pages were copied, 1 not, since nobody shared them any more\n" in k.text, "cow")


def check_wc(k):
    """Demo wc: entries against the PAT, a second time. @return was there a framebuffer?"""
    if "INFO  there is no framebuffer\n" in k.text:
        return False
    phys, size, pat = k.fields(r"INFO  framebuffer at physical (0x\w+), (\d+) bytes; IA32_PAT is "
                               r"(0x[0-9a-f]{16})\n")
    rows = k.all(r"INFO  (WC|UC) at (0x\w+): level (\d) entry (0x\w+), PAT (\d) PCD (\d) PWT (\d): "
                 r"type (\d) is (WC|UC)\n")
    equal([row[0] for row in rows], ["WC", "WC", "UC", "UC"], "views")
    for name, _, level, entry, *bits, index, kind in rows:
        entry, level = int(entry, 16), int(level)
        found = [entry >> (7 if level == 1 else 12) & 1, entry >> 4 & 1, entry >> 3 & 1]
        equal([int(bit) for bit in bits], found, f"bits of {entry:#x}")
        equal(int(index), found[0] << 2 | found[1] << 1 | found[2], f"index of {entry:#x}")
        equal((name, pat >> 8 * int(index) & 7), (kind, {"WC": 1, "UC": 0}[kind]), "memory type")
        address = entry & (1 << 52) - (1 << 12) & ~(0 if level == 1 else (1 << 21) - 1)
        expect(phys <= address < phys + size, f"{entry:#x} maps something else")
    expect(f"INFO  {size // 8} pixels drawn through WC, {size // 8} through UC; 0 are wrong"
           in k.text, "pixels")
    return True


def check_demos(k):
    equal(k.demos, DEMOS, "demos that went well")
    check_shootdown(k)
    check_cow(k)
    check_wc(k)
    check_values(k)
    check_mappings(k)
    check_heaps(k)
    expect("after all demos: audit sound, usage and heap as before" in k.text, "after all demos")


def check_stress(k):
    rounds, cpus = k.fields(r"INFO  stress: (\d+) rounds on (\d+) CPUs\n")
    expect(60 * cpus <= rounds <= 1200 * cpus, f"{rounds} rounds on {cpus} CPUs")


def check_heap_stress(k):
    operations, cpus, inside, cross = k.fields(
        r"INFO  heap stress: (\d+) operations on (\d+) CPUs, (\d+) interrupts inside the "
        r"allocator, (\d+) frees across CPUs\n")
    *wanted, handlers, refused = k.fields(
        r"INFO  heap stress: at least (\d+) and (\d+) were wanted; (\d+) handlers took part, "
        r"(\d+) requests were refused\n")
    equal(wanted, [INSIDE_MIN, CROSS_MIN] if cpus > 1 else [0, 0], "least numbers")
    expect(inside >= wanted[0] and cross >= wanted[1], f"{inside} inside, {cross} across")
    expect(operations >= 4000 * cpus and handlers > 0, f"{operations} by {handlers} handlers too")
    # A bump heap gives memory back when nothing is live: it may run full meanwhile.
    kind = heap_kind_of(k)[0]
    expect(refused == 0 or kind == "bump" or (kind != "heap" and heap_of(k)[1] < 4 * MIB),
           f"{refused} requests were refused")
    if kind == "heap":
        trims = k.field(r"INFO  heap stress: trimmed (\d+) times, by any CPU\n")
        expect(trims >= cpus, f"trimmed {trims} times")


def check_frames(k):
    """@return blocks taken of each order"""
    operations, cpus, *got = k.fields(
        r"INFO  frames: (\d+) operations on (\d+) CPUs, (\d+) interrupts inside the allocator, "
        r"(\d+) frees across CPUs, (\d+) drains\n")
    *wanted, handlers, refused, used_up = k.fields(
        r"INFO  frames: at least (\d+), (\d+) and (\d+) were wanted; (\d+) handlers took part, "
        r"(\d+) requests were refused, memory was used up (\d+) times\n")
    equal(wanted, [INSIDE_MIN, CROSS_MIN, DRAINS_MIN] if cpus > 1 else [0, 0, DRAINS_MIN],
          "least numbers")
    expect(all(n >= least for n, least in zip(got, wanted)), f"{got}, at least {wanted}")
    expect(operations >= 2 * 4000 * cpus and handlers > 0, f"{operations}, {handlers} handlers")
    expect(refused >= used_up >= 3 * cpus, f"{refused} refused, used up {used_up} times")
    return k.fields(r"INFO  frames: blocks of orders 0 to 9:" + r" (\d+)" * 10 + r"\n")


def check_zeroed(k):
    taken, cpus, ready = k.fields(r"INFO  zeroed frames: (\d+) taken on (\d+) CPUs, (\d+) of them "
                                  r"zeroed beforehand\n")
    expect(taken == 8 * 64 * cpus and ready >= (64 if cpus > 1 else 0),
           f"{ready} of {taken} zeroed beforehand on {cpus} CPUs")


def check_paging(k, wanted_operations=10000):
    operations, cpus, batches, reads, writes, faults, stale_reads, stale_writes = k.fields(
        r"INFO  paging: (\d+) operations on (\d+) CPUs in (\d+) batches; beside them (\d+) reads, "
        r"(\d+) writes, (\d+) faults; (\d+) reads and (\d+) writes were stale\n")
    asked, *got = k.fields(
        r"INFO  paging: asked to flush (\d+) times: (\d+) with interrupts off, (\d+) while "
        r"spinning on a lock, (\d+) while using those pages; at least")
    wanted = k.fields(r"while using those pages; at least (\d+), (\d+) and (\d+) were wanted\n")
    equal((stale_reads, stale_writes), (0, 0), "stale reads and writes")
    equal(wanted, [n * wanted_operations // 100000 if cpus > 1 else 0 for n in SOAK_MIN],
          "least numbers")
    expect(all(n >= least for n, least in zip(got, wanted)), f"{got}, at least {wanted}")
    expect(operations >= wanted_operations and operations / 16 <= batches and
           min(reads, writes, faults) > wanted_operations / 10 and asked >= max(got),
           f"{operations} operations in {batches} batches, {reads}, {writes}, {faults}, {asked}")


def check_selftests(k):
    equal(k.selftests, SELFTESTS, "self-tests that went well")
    check_paging(k)
    check_stress(k)
    check_heap_stress(k)
    check_frames(k)
    check_zeroed(k)


def check_all(k, cpus=1, hhdm=0xFFFF800000000000, levels=4, nx=True, revision=6):
    passed(k)
    check_machine(k, cpus, hhdm)
    check_hellos(k, cpus)
    check_books(k)
    check_tables(k, revision, levels)
    check_demos(k)
    check_registers(k, cpus, nx, levels)
    check_selftests(k)
    expect("INFO  all is well" in k.text, "no last line")
    return k


def healthy(cpus=1, hhdm=0xFFFF800000000000, levels=4, nx=True, revision=6, **how):
    """Boot and check everything."""
    return check_all(boot(cpus=cpus, **how), cpus, hhdm, levels, nx, revision)
