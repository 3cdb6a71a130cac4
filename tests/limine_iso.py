#!/usr/bin/env python3
"""limine_iso.py BUILD LIMINE_DIR - boot the kernel with a user's own Limine, from an
ISO image, under BIOS and UEFI. It must say what it always says and end QEMU well.
"""
import os
import subprocess
import sys
import tempfile

PASSED = 33  # the kernel's way of saying so through the debug-exit device
BOOT_SECONDS_MAX = 300
OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
MACHINES = [("q35", "512M", 2), ("pc", "256M", 1)]


def boot(iso, firmware, machine, memory, cpus):
    """None if all went well, else why not."""
    command = ["qemu-system-x86_64", "-M", machine, "-accel", "tcg", "-cpu", "max", "-m", memory,
               "-smp", str(cpus), "-display", "none", "-net", "none", "-no-reboot", "-monitor",
               "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
               "-cdrom", iso, *firmware]
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=BOOT_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return f"nothing after {BOOT_SECONDS_MAX} s"
    tail = " / ".join(run.stdout.decode(errors="replace").split("\n")[-8:])
    return None if run.returncode == PASSED else f"status {run.returncode}: {tail}"


def main():
    build, limine = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        iso = os.path.join(scratch, "limine.iso")
        subprocess.run(["make", "--no-print-directory", "-s", "iso", f"BUILD={build}",
                        f"LIMINE_DIR={limine}", f"ISO={iso}"], check=True)
        variables = os.path.join(scratch, "vars.fd")
        with open(OVMF[1], "rb") as source, open(variables, "wb") as copy:
            copy.write(source.read())
        uefi = [f"-drive=if=pflash,format=raw,readonly=on,file={OVMF[0]}",
                f"-drive=if=pflash,format=raw,file={variables}"]
        uefi = [word for drive in uefi for word in drive.split("=", 1)]
        cases = [(f"bios-{machine[0]}", [], machine) for machine in MACHINES]
        cases.append(("uefi-q35", uefi, MACHINES[0]))
        for name, firmware, machine in cases:
            why = boot(iso, firmware, *machine)
            failed += why is not None
            print(f"ok - {name}" if why is None else f"not ok - {name}: {why}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
