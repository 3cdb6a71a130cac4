"""What Python programs do: text, numbers, containers, closures, threads, children.
Prints digests of all results."""
import collections
import concurrent.futures
import gc
import hashlib
import heapq
import json
import os
import re
import weakref


def digest(name, value):
    print(name, hashlib.sha256(repr(value).encode()).hexdigest(), flush=True)


def numbers(count, seed=1):
    for _ in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) & (2 ** 64 - 1)
        yield seed >> 33


def documents():
    rows = [{"id": n, "name": f"name {n % 977}", "tags": [str(n % k) for k in range(2, 9)],
             "nested": {"a": n / 3, "b": [None, True, n]}} for n in numbers(8000)]
    text = json.dumps(rows, indent=1)
    again = json.loads(text)
    digest("json", (len(text), again[17], json.dumps(again, sort_keys=True)))


def expressions():
    text = " ".join(f"{n:x}@{n % 97}.example" for n in numbers(30000))
    found = re.findall(r"([0-9a-f]+)@(\d+)\.example", text)
    digest("re", (len(found), found[::311], re.sub(r"(\d)(\d)", r"\2\1", text)))


def containers():
    counts = collections.Counter(n % 1009 for n in numbers(100000))
    groups = collections.defaultdict(list)
    for n in numbers(60000, 7):
        groups[n % 211].append(n)
    queue, heap = collections.deque(maxlen=5000), []
    for n in numbers(60000, 9):
        queue.append((n, str(n)))
        heapq.heappush(heap, (n, -n))
        if len(heap) > 3000:
            heapq.heappop(heap)
    digest("containers", (counts.most_common(50), sorted(groups[13]), list(queue)[::99], heap[:50]))


class Node:
    def __init__(self, value):
        self.value, self.next, self.back = value, None, None


def cycles():
    """Garbage that only the collector finds."""
    dead = []
    for round_number in range(20):
        nodes = [Node(i) for i in range(2000)]
        for a, b in zip(nodes, nodes[1:] + nodes[:1]):
            a.next, b.back = b, a
        if round_number % 4 == 0:
            dead.append(weakref.ref(nodes[5]))
    del nodes, a, b
    gc.collect()
    digest("cycles", [ref() is None for ref in dead])


def growth():
    """Buffers that grow, of all sizes."""
    buffers = [bytearray() for _ in range(50)]
    for i, n in enumerate(numbers(40000, 3)):
        buffers[n % 50] += bytes([n % 256]) * (n % 700)
        if i % 5000 == 4999:
            del buffers[n % 50][100:]
    large = b"".join(bytes(b) for b in buffers)
    digest("growth", (len(large), hashlib.sha256(large).hexdigest()))


def children():
    def work(n):
        return sum(len(str(x ** 20)) for x in numbers(3000, n))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        digest("threads", list(pool.map(work, range(24))))
        for code in range(5):  # while the threads are there
            child = os.fork()
            if child == 0:
                os._exit(work(code) % 100)
            digest("child", os.waitpid(child, 0)[1])


for part in (documents, expressions, containers, cycles, growth, children):
    part()
