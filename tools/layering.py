#!/usr/bin/env python3
"""layering.py - a file includes only what lies above it. Prints what does not.

The order below is the library's. A header or source of one layer may include
the public headers of that layer and of earlier ones; since a layer is only
reached through its header, it then calls nothing below itself either. A private
header (src/internal/) lies as low as what it includes. A source named after a
layer and more (arena_span.c) is that layer's. Outside src/ only public headers
are included, but by tests, and only boot adapters and host programs may make a
direct map (boot/adapter.h).
"""
import pathlib
import re
import sys

# Those with a slash between them lie side by side.
LAYERS = ("config types/port x86 lock once memmap early stock usage frame zero record ledger "
          "pressure cpu tlb paging directmap vrange pagemap guard slab/heap freelist bump "
          "arena block allocator debug "
          "locked boot books/hotplug/vmap/loam/names/dump/explain").split()
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split("/")}
HOST_FOLDERS = ("tests", "fuzz", "tools", "bench")
INCLUDE = re.compile(r'\s*#\s*include\s+([<"])([^>"]+)[>"]')


def includes(path):
    """(line number, file of ours) for every #include of one."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        include = INCLUDE.match(line)
        if not include:
            continue
        quote, name = include.groups()
        places = [path.parent / name] if quote == '"' else []
        for place in places + [pathlib.Path("include") / name, pathlib.Path("src") / name]:
            if place.exists():
                yield number, place.resolve().relative_to(pathlib.Path.cwd())
                break


def rank_of(path):
    """Rank of a header or source of the library; None: it is in no layer."""
    if path.match("src/internal/*.h"):
        return max((rank_of(file) or 0 for _, file in includes(path)), default=0)
    private = pathlib.Path("src/internal") / (path.stem + ".h")
    if path.stem not in RANK and private.exists():
        return rank_of(private)
    return RANK.get(path.stem, RANK.get(path.stem.split("_")[0]))


def complaint(path, target):
    """Why `path` must not include `target`, or None."""
    folder = path.parts[0]
    if target.match("include/loam/boot/adapter.h") and not path.match("include/loam/boot/*.h"):
        return None if folder in HOST_FOLDERS else "only boot adapters make a direct map"
    if target.parts[0] == "src" and folder not in ("src", "tests") and path.name != "loam_all.c":
        return "not a public header"
    if folder not in ("include", "src") or path.match("include/loam/boot/*.h"):
        return None
    if target.match("include/loam/boot/*.h"):
        return "the library knows no bootloader"
    if target.parts[0] not in ("include", "src"):
        return "outside the library"
    if path.match("src/internal/*.h"):
        return None
    rank, below = rank_of(path), rank_of(target)
    if rank is None or below is None:
        return "one of the two is in no layer; name it in tools/layering.py"
    return f"{LAYERS[below]} lies below {LAYERS[rank]}" if below > rank else None


def main():
    bad = 0
    folders = ("include", "src", "kernel", "boot", "examples") + HOST_FOLDERS
    for path in sorted(p for f in folders for p in pathlib.Path(f).rglob("*.[ch]")):
        for number, target in includes(path):
            why = complaint(path, target)
            if why:
                print(f"{path}:{number}: {target}: {why}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
