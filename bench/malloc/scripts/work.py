"""What scripts do all day: text, numbers, trees, and garbage in circles. Prints checksums."""
import collections
import gc
import hashlib
import json
import random
import re


def documents(draw, count):
    words = ["".join(draw.choice("abcdefghijklmnop") for _ in range(draw.randint(2, 11)))
             for _ in range(400)]
    return [{"id": number, "name": " ".join(draw.choices(words, k=3)),
             "tags": draw.choices(words, k=draw.randint(0, 8)),
             "place": {"x": draw.random(), "y": draw.randint(0, 10**9)},
             "text": " ".join(draw.choices(words, k=30))} for number in range(count)]


def json_work(found):
    text = json.dumps(found)
    for _ in range(3):
        text = json.dumps(json.loads(text), sort_keys=True)
    return text


def regex_work(text):
    pairs = re.findall(r'"(\w+)": "(\w+) (\w*b\w*)', text)
    short = re.sub(r"([a-f]+)([g-p]+)", r"\2\1", text)
    return len(pairs), hashlib.sha256(short.encode()).hexdigest()


def dict_work(found):
    index = collections.defaultdict(list)
    for document in found:
        for word in document["text"].split():
            index[word].append(document["id"])
    counts = collections.Counter({word: len(numbers) for word, numbers in index.items()})
    triples = {(a, b): a + b for a, b in zip(index, reversed(index))}
    return counts.most_common(3), len(triples)


class Node:
    def __init__(self, value, parent):
        self.value = value
        self.parent = parent
        self.children = []


def circles_work(draw, count):
    sums = 0
    for _ in range(count):
        root = Node(0, None)
        nodes = [root]
        for value in range(300):
            parent = draw.choice(nodes)
            node = Node(value, parent)
            parent.children.append(node)
            nodes.append(node)
        sums += sum(len(node.children) * node.value for node in nodes)
    return sums, gc.collect() >= 0


def main():
    draw = random.Random(1)
    found = documents(draw, 3000)
    text = json_work(found)
    print(hashlib.sha256(text.encode()).hexdigest())
    print(regex_work(text))
    print(dict_work(found))
    print(circles_work(draw, 600))


main()
