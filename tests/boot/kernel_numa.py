"""Cases of kernel_test.py about NUMA nodes: what the kernel reads from the firmware's
affinity table, compared with the machine that was asked for."""
import struct

import shim_machine as lab
from kernel_machine import (
    FROM_USABLE, GIB, MIB, NO_LA57, boot, case, equal, expect, healthy, passed)

RAM_OWNERS = FROM_USABLE + ("bootloader", "executable")


def machine(*nodes):
    """QEMU's words for nodes: (size or None, its CPUs)."""
    words = []
    for i, (size, cpus) in enumerate(nodes):
        node = f"node,nodeid={i}" + "".join(f",cpus={cpu}" for cpu in cpus)
        if size is not None:
            words += ["-object", f"memory-backend-ram,id=m{i},size={size}"]
            node += f",memdev=m{i}"
        words += ["-numa", node]
    return words


def ram_in(k, *ranges):
    """Bytes of RAM in these ranges, by the intervals of the usage map."""
    expect(k.intervals, "no intervals in the output")
    return sum(max(0, min(end, last) - max(start, first))
               for start, end, owner in k.intervals if owner in RAM_OWNERS
               for first, last in ranges)


def nodes_of(k):
    """{node: (bytes, ranges, CPUs)}"""
    nodes = {}
    for node, size, count, cpus in k.all(
            r"INFO  numa: node (\d+): (0x[0-9a-f]+) bytes in (\d+) ranges"
            r"(?:, no CPUs|, CPUs ([\d,-]+)); 0x[0-9a-f]+ free\n"):
        listed = []
        for run in cpus.split(",") if cpus else []:
            first, _, last = run.partition("-")
            listed += range(int(first), int(last or first) + 1)
        nodes[int(node)] = (int(size, 16), int(count), listed)
    return nodes


def check_nodes(k, wanted, of_none=0):
    """@wanted: {node: (its address ranges, its CPUs)}; @of_none: bytes of RAM without a node"""
    nodes = nodes_of(k)
    equal(list(nodes), sorted(wanted), "nodes")
    for node, (ranges, cpus) in wanted.items():
        equal(nodes[node][0], ram_in(k, *ranges), f"bytes of node {node}")
        equal(nodes[node][2], cpus, f"CPUs of node {node}")
    lost = [int(n, 16) for n in k.all(r"WARN  numa: (0x[0-9a-f]+) bytes of RAM are of no node\n")]
    equal(lost, [of_none] if of_none else [], "RAM of no node")
    equal(sum(n[0] for n in nodes.values()) + of_none, ram_in(k, (0, 1 << 64)), "all RAM")


@case("numa-2-nodes", quick=True)
def _():
    k = healthy(cpus=4, cpu=NO_LA57, extra=machine(("256M", ["0-1"]), ("256M", ["2-3"])))
    check_nodes(k, {0: ([(0, 256 * MIB)], [0, 1]), 1: ([(256 * MIB, 512 * MIB)], [2, 3])})
    expect("WARN  numa" not in k.text, "a warning")


@case("numa-4-nodes-around-the-hole", quick=True)
def _():
    """2 GiB are below the hole of q35: node 1 lies on both sides of it."""
    k = healthy(cpus=4, cpu=NO_LA57, memory="4G", extra=machine(
        ("512M", ["0", "3"]), ("2G", ["1"]), ("1G", []), ("512M", ["2"])))
    check_nodes(k, {
        0: ([(0, 512 * MIB)], [0, 3]),
        1: ([(512 * MIB, 2 * GIB), (4 * GIB, 4 * GIB + 512 * MIB)], [1]),
        2: ([(4 * GIB + 512 * MIB, 5 * GIB + 512 * MIB)], []),
        3: ([(5 * GIB + 512 * MIB, 6 * GIB)], [2])})
    equal(nodes_of(k)[1][1], 2, "ranges of node 1")


@case("numa-node-without-memory")
def _():
    k = passed(boot(cpus=3, cpu=NO_LA57, cmdline="demo=usage", extra=machine(
        ("512M", ["0"]), (None, ["1-2"]))))
    check_nodes(k, {0: ([(0, 512 * MIB)], [0]), 1: ([], [1, 2])})


@case("numa-room-for-more-memory")
def _():
    """Of memory that may be plugged in later there is a range without RAM."""
    k = passed(boot(cpus=2, cpu=NO_LA57, cmdline="demo=usage", extra=[
        "-m", "512M,slots=4,maxmem=8G"] + machine(("256M", ["0"]), ("256M", ["1"]))))
    expect("INFO  numa: 1 ranges without RAM\n" in k.text, k.tail())
    check_nodes(k, {0: ([(0, 256 * MIB)], [0]), 1: ([(256 * MIB, 512 * MIB)], [1])})


@case("numa-tables-outside-the-direct-map", quick=True)
def _():
    k = passed(boot(cpus=2, cpu=NO_LA57, cmdline="demo=usage shim.revision=3",
                    extra=machine(("128M", ["1"]), ("384M", ["0"]))))
    check_nodes(k, {0: ([(0, 128 * MIB)], [1]), 1: ([(128 * MIB, 512 * MIB)], [0])})


@case("numa-without-a-table", quick=True)
def _():
    k = passed(boot(cpus=2, cpu=NO_LA57, cmdline="demo=box"))
    expect("INFO  numa: no nodes\n" in k.text, k.tail())
    equal(nodes_of(k), {}, "nodes")


@case("numa-without-a-root-pointer", quick=True)
def _():
    k = passed(boot(cpu=NO_LA57, cmdline="demo=box shim.no=rsdp"))
    expect("INFO  firmware: the bootloader knows no ACPI\n" in k.text, k.tail())
    expect("INFO  numa: no nodes\n" in k.text, k.tail())


# ---- tables of our own -------------------------------------------------------------


def memory_entry(node, start, size, flags=1):
    return struct.pack("<BBIHQQIIQ", 1, 40, node, 0, start, size, 0, flags, 0)


def cpu_entry(node, apic_id):
    return struct.pack("<BBBBIB3sI", 0, 16, node & 0xFF, apic_id, 1, 0,
                       struct.pack("<I", node >> 8)[:3], 0)


def table(*entries):
    """QEMU's words for one; it adds the checksum."""
    body = struct.pack("<IQ", 1, 0) + b"".join(entries)
    head = struct.pack("<4sIBB6s8sI4sI", b"SRAT", 36 + len(body), 3, 0, b"LOAM  ", b"LOAMTEST",
                       1, b"LOAM", 1)
    return ["-acpitable", "file=" + lab.scratch(f"srat-{hash(body):x}", head + body)]


@case("numa-M33-overlapping-missing-and-empty-ranges", quick=True)
def _():
    k = passed(boot(cpus=3, cpu=NO_LA57, cmdline="demo=usage", extra=table(
        memory_entry(5, 100 * MIB, 200 * MIB),
        memory_entry(0xFFFFFF00, 0, 128 * MIB),
        memory_entry(9, 64 * GIB, GIB),
        memory_entry(6, 400 * MIB + 1, 16 * MIB),
        cpu_entry(5, 2), cpu_entry(0x1234567, 0))))
    check_nodes(k, {
        5: ([(128 * MIB, 300 * MIB)], [2]),
        6: ([(400 * MIB + 4096, 416 * MIB)], []),
        0x1234567: ([], [0]),
        0xFFFFFF00: ([(0, 128 * MIB)], []),
    }, ram_in(k, (300 * MIB, 400 * MIB + 4096), (416 * MIB, 512 * MIB)))
    for words in ("WARN  numa: 1 times repaired: memory named for two nodes: the one that starts "
                  "lower keeps it\n", "WARN  numa: 1 CPUs are of no node\n",
                  "WARN  numa: 1 times repaired: memory that ends inside a page: that page is "
                  "left out\n", "INFO  numa: 1 ranges without RAM\n"):
        expect(words in k.text, f"no {words!r}")


@case("numa-table-that-ends-too-soon")
def _():
    k = passed(boot(cpus=1, cpu=NO_LA57, cmdline="demo=usage", extra=table(
        memory_entry(1, 0, 512 * MIB), memory_entry(2, 4 * GIB, GIB)[:30])))
    check_nodes(k, {1: ([(0, 512 * MIB)], [])})
    expect("WARN  numa: 1 times repaired: entry past the end of the table" in k.text, k.tail())


@case("numa-table-without-entries")
def _():
    k = passed(boot(cpus=1, cpu=NO_LA57, cmdline="demo=box", extra=table()))
    expect("INFO  numa: no nodes\n" in k.text, k.tail())


@case("numa-table-of-a-thousand-ranges")
def _():
    """Every page of the second MiB and on is of another node than the one before it."""
    count = 1000
    k = passed(boot(cpus=1, cpu=NO_LA57, cmdline="demo=usage", extra=table(
        cpu_entry(1, 0), *(memory_entry(i % 2, MIB + i * 4096, 4096) for i in range(count)))))
    pages = [(MIB + i * 4096, MIB + (i + 1) * 4096) for i in range(count)]
    check_nodes(k, {0: (pages[0::2], []), 1: (pages[1::2], [0])},
                ram_in(k, (0, MIB), (MIB + count * 4096, 1 << 64)))
    equal([nodes_of(k)[i][1] for i in (0, 1)], [count // 2] * 2, "ranges")
