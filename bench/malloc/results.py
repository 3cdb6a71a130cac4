"""Raw numbers of bench-malloc, read."""
import collections
import math
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reports  # noqa: E402

GROUPS = ["all", "single", "application", "threads"]
PEERS = ["glibc", "mimalloc2", "mimalloc3", "snmalloc", "rpmalloc", "jemalloc", "tcmalloc"]
BASE = "mimalloc2"
WHOLE = 30  # programs


def geometric(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def seconds(row):
    """What counts: threads wait for each other, others only for the machine."""
    if row["kind"] == "threads":
        return float(row["wall"])
    return float(row["user"]) + float(row["system"])


class Results:
    """By program and library. @p what is time (s), memory (KiB at its peak) or idle (KiB)."""

    def __init__(self, raw):
        self.raw = raw
        self.kinds = {}
        self.numbers = {what: collections.defaultdict(dict)  # {round: number}
                        for what in ("time", "memory", "idle")}
        self.sums = collections.defaultdict(set)
        self.failed = set()
        self.libraries = []
        for row in reports.rows_of(raw):
            self._add(row)
        others = [name for name in self.libraries if not name.startswith("loam")]
        self.base = BASE if BASE in others else (others or self.libraries)[0]
        self.rounds = 1 + max((number for numbers in self.numbers["time"].values()
                               for number in numbers), default=0)

    def _add(self, row):
        key = row["program"], row["library"]
        number = int(row["round"])
        self.kinds[row["program"]] = row["kind"]
        if row["library"] not in self.libraries:
            self.libraries.append(row["library"])
        if row["wall"] == "failed":
            self.failed.add(key)
            return
        self.numbers["time"][key][number] = seconds(row)
        self.numbers["memory"][key][number] = float(row["kib"])
        if row["idle_kib"]:
            self.numbers["idle"][key][number] = float(row["idle_kib"])
        self.sums[key].add(row["checksum"])

    def programs(self, group="all"):
        return [name for name, kind in self.kinds.items() if group in ("all", kind)]

    def is_whole(self):
        """Is this a run of all programs, or of some that somebody chose?"""
        return len(self.kinds) >= WHOLE

    def peers(self):
        return [name for name in self.libraries if name in PEERS]

    def median(self, what, program, library):
        """None: there is none"""
        found = self.numbers[what].get((program, library))
        if not found or (program, library) in self.failed:
            return None
        return statistics.median(found.values())

    def ratio(self, what, program, library):
        """To the base, median of the ratios of each round; None: one of them failed"""
        own = self.numbers[what].get((program, library), {})
        base = self.numbers[what].get((program, self.base), {})
        both = [own[number] / base[number] for number in own if number in base]
        if not both or (program, library) in self.failed:
            return None
        return statistics.median(both)

    def mean(self, what, library, group):
        """Geometric, of the ratios of a group; infinite where Loam has none."""
        found = [self.ratio(what, program, library) for program in self.programs(group)]
        if not found or (library.startswith("loam") and None in found):
            return math.inf
        found = [ratio for ratio in found if ratio]
        return geometric(found) if found else math.inf

    def versus_best(self, what):
        """Loam's mean by the least of the peers'."""
        means = [self.mean(what, peer, "all") for peer in self.peers()]
        return self.mean(what, "loam", "all") / min(means, default=math.nan)

    def worst(self, what, library="loam"):
        """(program, times the best peer's, that peer), the worst first"""
        found = []
        for program in self.programs():
            own = self.ratio(what, program, library)
            peers = [(self.ratio(what, program, peer), peer) for peer in self.peers()]
            peers = [(ratio, peer) for ratio, peer in peers if ratio]
            if peers:
                best, peer = min(peers)
                found.append((program, own / best if own else math.inf, peer))
        return sorted(found, key=lambda row: -row[1])

    def wrong(self):
        """Sentences: who failed, and whose output differs from most."""
        lines = [f"{program} failed on {library}" for program, library in sorted(self.failed)
                 if library != "empty"]
        for program in self.programs():
            sums = {library: self.sums[program, library] for library in self.libraries
                    if self.sums[program, library]}
            votes = collections.Counter(each for found in sums.values() for each in found)
            usual = votes.most_common(1)[0][0] if votes else None
            lines += [f"{program} has another output on {library}"
                      for library, found in sums.items() if found != {usual}]
        return lines
