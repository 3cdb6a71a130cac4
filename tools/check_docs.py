#!/usr/bin/env python3
"""check_docs.py - documents keep their word. Prints every offence.

Links between files lead somewhere, headings included. A code block that follows
the line `<!-- from: FILE -->` stands in that file word for word; C in README.md
always comes from a file, because those are compiled and run.
"""
import pathlib
import re
import subprocess
import sys

LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FROM = re.compile(r"<!--\s*from:\s*(\S+)\s*-->")
CODE_SPAN = re.compile(r"`[^`]*`")


def slug(heading):
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return text.replace(" ", "-")


def split(text):
    """Prose lines [(number, line)] and fenced blocks [(number, language, source, code)]."""
    prose, blocks = [], []
    fence, source = None, None
    for number, line in enumerate(text.splitlines(), 1):
        if fence is not None and line.strip() == "```":
            blocks.append((fence, language, source, "\n".join(code) + "\n"))
            fence, source = None, None
        elif fence is not None:
            code.append(line)
        elif line.startswith("```"):
            fence, language, code = number, line[3:].strip(), []
        else:
            prose.append((number, line))
            if FROM.search(line):
                source = FROM.search(line).group(1)
            elif line.strip():
                source = None
    return prose, blocks


def anchors(path):
    prose, _ = split(path.read_text(encoding="utf-8"))
    return {slug(line.lstrip("#")) for _, line in prose if line.startswith("#")}


def check_links(path, prose):
    for number, line in prose:
        for target in LINK.findall(CODE_SPAN.sub("``", line)):
            if re.match(r"[a-z]+:", target):
                continue  # another site: not reachable from every build
            name, _, anchor = target.partition("#")
            file = (path.parent / name) if name else path
            if not file.exists():
                yield number, f"link to {target}: no such file"
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                yield number, f"link to {target}: no such heading"


def check_blocks(path, blocks):
    for number, language, source, code in blocks:
        if source is None:
            if path.name == "README.md" and language == "c":
                yield number, "C in README.md without `<!-- from: FILE -->`"
        elif not pathlib.Path(source).exists():
            yield number, f"from {source}: no such file"
        elif code not in pathlib.Path(source).read_text(encoding="utf-8"):
            yield number, f"not word for word in {source}"


def main():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                             "--exclude-standard", "*.md"], stdout=subprocess.PIPE, check=True)
    bad = 0
    for path in [pathlib.Path(n) for n in sorted(set(listed.stdout.decode().split("\0"))) if n]:
        if not path.exists():
            continue
        prose, blocks = split(path.read_text(encoding="utf-8"))
        for number, why in [*check_links(path, prose), *check_blocks(path, blocks)]:
            print(f"{path}:{number}: {why}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
