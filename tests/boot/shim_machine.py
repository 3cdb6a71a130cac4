"""What shim_test.py stands on: the probe kernel and ways to patch it, booting it in
QEMU, reading what it says, and what must hold on every boot."""
import os
import re
import struct
import subprocess
import tempfile
import threading
import time

QEMU = "qemu-system-x86_64"

PASSED = 33      # the probe found no problem
SHIM_FAILED = 35  # the shim gave up, with a message

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4096
USABLE, RESERVED, ACPI, NVS, BAD, RECLAIMABLE, EXECUTABLE, FRAMEBUFFER, MAPPED = range(9)

# What SeaBIOS on pc and q35 keeps of RAM: page 0, 0x9f000 to 1 MiB, ACPI tables,
# and one page more on some machines.
FIRMWARE_BYTES = (0x82000, 0x83000)

COMMON_ID = struct.pack("<QQ", 0xC7B1DD30DF4C8B88, 0x0A82E883A194F07B)
REVISION_TAG = struct.pack("<QQ", 0xF9562B2D5C95A6C8, 0x6A7B384944536BDC)
PAGING_ID = COMMON_ID + struct.pack("<QQ", 0x95C1A0EDAB0944CB, 0xA4E5CB3842F7488A)
HHDM_ID = COMMON_ID + struct.pack("<QQ", 0x48DCF1CB8AD2B852, 0x63984E959A98244B)
RSDP_ID = COMMON_ID + struct.pack("<QQ", 0xC5E77B6B397E7B43, 0x27637845ACCDCF3C)

BUILD = "build"  # both set by shim_test.py
SCRATCH = "/tmp"


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def equal(got, wanted, what):
    show = lambda v: hex(v) if isinstance(v, int) else repr(v)
    expect(got == wanted, f"{what}: got {show(got)}, wanted {show(wanted)}")


def size_of(text):
    return int(text[:-1]) * {"K": KIB, "M": MIB, "G": GIB}[text[-1]]


def checksum(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def scratch(name, data):
    path = os.path.join(SCRATCH, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


# ---- the probe, patched ------------------------------------------------------


def probe(name="probe.elf"):
    with open(os.path.join(BUILD, "boot", name), "rb") as f:
        return bytearray(f.read())


def patch(data, marker, word, *values):
    """Store 64-bit values from @word on after the start of @marker."""
    at = data.index(marker)
    struct.pack_into(f"<{len(values)}Q", data, at + 8 * word, *values)
    return data


def with_revision(revision, data=None):
    return patch(data or probe(), REVISION_TAG, 2, revision)


def with_paging(mode, max_mode=1, min_mode=0, data=None):
    return patch(data or probe(), PAGING_ID, 6, mode, max_mode, min_mode)


def segments(data):
    """Offsets of the program headers that load something."""
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    offsets = [start + i * size for i in range(count)]
    return [o for o in offsets if struct.unpack_from("<I", data, o)[0] == 1]


# ---- booting -----------------------------------------------------------------


class Boot:
    """One run of QEMU: its exit status and what the probe said."""

    def __init__(self, status, text, first_output, cpu_seconds):
        self.status, self.text = status, text
        self.first_output, self.cpu_seconds = first_output, cpu_seconds
        self.map, self.cpus, self.modules, self.acpi = [], [], [], []
        self.value = {}
        for line in text.splitlines():
            key, _, rest = line.strip().partition(" ")
            if key == "map":
                self.map.append(tuple(int(n, 16) for n in rest.split()))
            elif key == "cpu":
                self.cpus.append(tuple(int(n, 16) for n in rest.split()))
            elif key == "module":
                self.modules.append(rest)
            elif key == "acpi":
                self.acpi.append(rest)
            else:
                self.value[key] = rest

    def number(self, key):
        expect(key in self.value, f"no {key} in the output; status {self.status}: {self.tail()}")
        return int(self.value[key], 16)

    def tail(self):
        return " / ".join(self.text.split("\n")[-4:])[-300:]

    def bytes_of(self, *kinds):
        return sum(length for _, length, kind in self.map if kind in kinds)


def run_qemu(arguments, timeout):
    command = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-no-reboot",
               "-accel", "tcg"] + arguments
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    text, first = b"", None
    while chunk := process.stdout.read1(65536):
        text += chunk
        if first is None and b"probe" in text:
            first = time.monotonic() - start
    _, wait_status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(wait_status)
    return Boot(process.returncode, text.decode("latin-1"), first,
                usage.ru_utime + usage.ru_stime)


def boot(machine="q35", cpu="max", memory="512M", cpus=1, cmdline="", kernel=None, modules=(),
         extra=(), timeout=60):
    kernel_path = os.path.join(BUILD, "boot", "probe.elf")
    if kernel is not None:
        with tempfile.NamedTemporaryFile(dir=SCRATCH, delete=False) as f:
            f.write(kernel)
        kernel_path = f.name
    arguments = ["-cpu", cpu, "-m", memory, "-smp", str(cpus),
                 "-kernel", os.path.join(BUILD, "boot", "shim.elf"), "-append", cmdline]
    if size_of(memory) > 16 * GIB:  # more than the host would promise
        arguments += ["-object", f"memory-backend-ram,id=ram,size={memory},reserve=off"]
        machine += ",memory-backend=ram"
    arguments += ["-M", machine]
    if kernel_path != "none" and kernel != b"":
        arguments += ["-initrd", kernel_path]
    for name, path in modules:
        arguments += ["-fw_cfg", f"name=opt/loam.module/{name},file={path}"]
    return run_qemu(arguments + list(extra), timeout)


def passed(b):
    problems = [line for line in b.text.splitlines() if line.startswith(("problem", "shim:"))]
    expect(not problems, "; ".join(problems[:3]))
    expect(b.status == PASSED, f"status {b.status}: {b.tail()}")
    equal(b.number("done"), 0, "problems")
    return b


def refused(b, words):
    """The shim must say why, and leave with its failing status."""
    expect("shim: error: " in b.text, f"no error message; status {b.status}: {b.tail()}")
    expect(words in b.text, f"wanted {words!r} in: {b.tail()}")
    equal(b.status, SHIM_FAILED, "status")
    expect("probe" not in b.value, "the kernel ran all the same")


# ---- what must hold on every boot ----------------------------------------------


def check_map(b):
    equal(b.number("map.count"), len(b.map), "entries")
    equal(b.map, sorted(b.map), "order")
    for base, length, kind in b.map:
        expect(length > 0, f"empty entry at {base:#x}")
        if kind in (USABLE, RECLAIMABLE):
            expect(base % PAGE == 0 and length % PAGE == 0, f"unaligned entry at {base:#x}")
            expect(base >= PAGE, "page 0 is given away")
    for (base, length, kind), (after, _, after_kind) in zip(b.map, b.map[1:]):
        expect(base + length <= after, f"entries overlap at {after:#x}")
        expect(base + length < after or kind != after_kind, f"entries not merged at {after:#x}")


def check_coverage(b, revision):
    kinds = {USABLE, RECLAIMABLE, EXECUTABLE, FRAMEBUFFER}
    if revision >= 4:
        kinds |= {ACPI, NVS, MAPPED}
    total = end = 0
    for base, length, kind in b.map:
        if kind in kinds:
            first, last = max(base // PAGE * PAGE, end), -(-(base + length) // PAGE) * PAGE
            total += max(last - first, 0)
            end = max(end, last)
    equal(b.number("pages.hhdm"), total, "bytes in the HHDM")
    equal(b.number("pages.low"), PAGE, "bytes in the lower half")


def check_answers(b, revision, cpus, hhdm):
    equal(b.value.get("loader"), "Loam shim", "loader")
    expect(re.fullmatch(r"\d+\.\d+\.\d+", b.value.get("version", "")), "version")
    equal(b.number("stack"), 1, "stack size response")
    equal(b.number("hhdm"), hhdm, "hhdm")
    equal(b.number("mp.count"), cpus, "cpus")
    equal(len(b.cpus), cpus, "cpus listed")
    equal(b.number("mp.bsp"), 0, "boot cpu")
    owners = [k for base, length, k in b.map if base <= 0x100000 < base + length]
    equal(owners, [RECLAIMABLE], "owner of the shim's image")
    rsdp = b.number("rsdp") - (hhdm if revision != 3 else 0)
    expect(0x1000 <= rsdp < 4 * GIB, f"rsdp at {rsdp:#x}")
    owners = [k for base, length, k in b.map if base <= rsdp < base + length]
    equal(owners, [RESERVED] if revision == 3 else [MAPPED], "owner of the rsdp")


def check_file(words, data, label):
    """`phys size checksum path|string` as the probe prints a file."""
    _, size, digest, name = words.split(" ", 3)
    equal(int(size, 16), len(data), f"size of {label}")
    equal(int(digest, 16), checksum(data), f"checksum of {label}")
    equal(name, label, "path and string")


def healthy(memory="512M", cpus=1, revision=6, hhdm=0xFFFF800000000000, firmware=FIRMWARE_BYTES,
            **how):
    """Boot and check everything that does not depend on the case."""
    b = passed(boot(memory=memory, cpus=cpus, **how))
    check_map(b)
    check_coverage(b, revision)
    check_answers(b, revision, cpus, hhdm)
    ours = b.bytes_of(USABLE, RECLAIMABLE, EXECUTABLE)
    if firmware is not None:
        kept = size_of(memory) - ours
        expect(kept in firmware, f"{kept:#x} bytes of RAM not given to the kernel")
    equal(b.number("revision.word1"), revision, "revision tag word 1")
    return b
