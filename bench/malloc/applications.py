"""The programs that bench-malloc runs: those of its own, and real ones with their work.

All work is made here from fixed numbers, below one folder, and is the same every time. A
program's output is compared between the libraries.
"""
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import time
import urllib.request

SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"
ROOT = SCRIPTS.parent.parent.parent
PYTHON = "/usr/bin/python3"  # not one that is a script in front of another
SERVER_SECONDS = 10  # until a server must answer
CLIENT_SECONDS = 60  # until it must be done


@dataclasses.dataclass
class Program:
    """@p client runs while the command, a server, does; it gets the port, returns an output."""
    name: str
    kind: str  # single, threads or application
    command: list
    environment: dict = dataclasses.field(default_factory=dict)
    client: object = None
    port: int = 0


def own(programs):
    """Those of bench-malloc itself."""
    listed = subprocess.run([programs, "--list"], check=True, text=True, stdout=subprocess.PIPE)
    names = [line.split() for line in listed.stdout.splitlines()]
    return [Program(name, "single" if threads == "1" else "threads", [str(programs), name])
            for name, threads in names]


def checksum(path, answer=b""):
    """Of an output, without what the programs of bench-malloc say of memory; of a server's
    answer where there is one."""
    if answer:
        return hashlib.sha256(answer).hexdigest()[:16]
    text = path.read_bytes()
    if len(text) < 200:
        text = re.sub(rb"^idle \d+\n|(?<=[0-9a-f]{16}) \d+$", b"", text, flags=re.MULTILINE)
    return hashlib.sha256(text).hexdigest()[:16]


# ---- work ------------------------------------------------------------------------

def words_of(draw):
    return ["".join(draw.choice("abcdefghijklmnop") for _ in range(draw.randint(2, 11)))
            for _ in range(500)]


def write_json(path):
    draw = random.Random(2)
    words = words_of(draw)
    rows = [{"id": number, "city": draw.choice(words[:50]), "price": draw.randint(1, 1000),
             "tags": draw.choices(words, k=draw.randint(0, 6)),
             "place": {"x": draw.random(), "y": draw.random()}} for number in range(16000)]
    path.write_text(json.dumps(rows), encoding="utf-8")


def write_xml(path):
    draw = random.Random(3)
    words = words_of(draw)
    rows = [f'<row id="{number}" kind="{draw.choice(words)}"><a>{draw.choice(words)}</a>'
            f'<b x="{draw.randint(1, 99)}">{" ".join(draw.choices(words, k=5))}</b><c/></row>'
            for number in range(120000)]
    path.write_text("<rows>" + "".join(rows) + "</rows>\n", encoding="utf-8")


def history(draw):
    """A stream for git fast-import: 400 commits on 60 files."""
    files = {f"file{number}": [f"line {draw.randint(0, 10**6)} of {number}\n"
                               for _ in range(draw.randint(40, 400))] for number in range(60)}
    for commit in range(400):
        changed = draw.sample(sorted(files), 5) if commit else sorted(files)
        name = "first" if commit == 0 else "last"
        yield (f"commit refs/heads/{name}\ncommitter A <a@example.org> {10**9 + commit} +0000\n"
               f"data <<END\nchange {commit}\nEND\n")
        if commit == 1:
            yield "from refs/heads/first\n"
        for file in changed:
            place = draw.randrange(len(files[file]))
            files[file][place:place + draw.randint(0, 3)] = [
                f"line {draw.randint(0, 10**6)} of {commit}\n" for _ in range(draw.randint(0, 4))]
            text = "".join(files[file])
            yield f"M 100644 inline {file}\ndata {len(text)}\n{text}\n"


def write_repository(path):
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    stream = "".join(history(random.Random(4)))
    subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], check=True, input=stream,
                   text=True)


def write_site(path):
    draw = random.Random(5)
    (path / "logs").mkdir(parents=True)
    (path / "page.html").write_text(" ".join(draw.choices(words_of(draw), k=4000)),
                                    encoding="utf-8")
    (path / "nginx.conf").write_text("""daemon off;
master_process off;
error_log stderr crit;
pid nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    gzip on;
    default_type text/html;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server { listen 127.0.0.1:PORT; root .; }
}
""", encoding="utf-8")


def make_work(folder):
    """All inputs, unless they are there."""
    done = folder / "done"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "data.json")
    write_xml(folder / "data.xml")
    write_repository(folder / "repository")
    write_site(folder / "site")
    done.touch()


# ---- servers ---------------------------------------------------------------------

def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port, server):
    """Until something listens there. @return False: the server has ended"""
    end = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.01)
    return False


def quiet(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   timeout=CLIENT_SECONDS)


def redis_client(port):
    """@return what shows that all was done"""
    address = ["-h", "127.0.0.1", "-p", str(port)]
    for requests, tests in ((80000, "set,get,incr,lpush,rpop,sadd,hset,zadd"),
                            (2000, "lrange_300")):
        quiet("redis-benchmark", *address, "-n", str(requests), "-q", "-P", "32", "-c", "20", "-r",
              "100000", "-d", "120", "-t", tests)
    return subprocess.run(["redis-cli", *address, "lrange", "mylist", "0", "99"], check=True,
                          stdout=subprocess.PIPE, timeout=CLIENT_SECONDS).stdout


def nginx_client(port):
    """@return what shows that all was done"""
    address = f"http://127.0.0.1:{port}/page.html"
    quiet("ab", "-q", "-n", "8000", "-c", "200", address)
    quiet("ab", "-q", "-n", "250", "-c", "200", "-H", "Accept-Encoding: gzip", address)
    with urllib.request.urlopen(address, timeout=SERVER_SECONDS) as page:
        return page.read()


def redis(folder):
    port = free_port()
    return Program("redis", "application", [
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
        "no", "--daemonize", "no", "--dir", str(folder)], client=redis_client, port=port)


def nginx(folder):
    port = free_port()
    site = folder / "site"
    text = (site / "nginx.conf").read_text(encoding="utf-8").replace("PORT", str(port))
    (site / "ported.conf").write_text(text, encoding="utf-8")
    return Program("nginx", "application", ["nginx", "-p", str(site), "-c", "ported.conf"],
                   client=nginx_client, port=port)


# ---- all -------------------------------------------------------------------------

def real(folder):
    """Real programs, with the work below a folder."""
    script = [PYTHON, str(SCRIPTS / "work.py")]
    fixed = {"PYTHONHASHSEED": "0"}
    compiler = os.environ.get("CC", "gcc").split()
    jq = ('group_by(.city) | map({city: .[0].city, sum: map(.price) | add, '
          'tags: ([.[].tags[]] | unique | length)})')
    commands = {
        "python": script,
        "python-malloc": script,
        "sqlite": ["sqlite3", ":memory:", f".read {SCRIPTS / 'work.sql'}"],
        "git": ["sh", str(SCRIPTS / "work.sh"), str(folder / "repository")],
        "perl": ["perl", str(SCRIPTS / "work.pl")],
        "gcc": [*compiler, "-std=c11", f"-I{ROOT / 'include'}", "-O0", "-S", "-o", "-",
                str(ROOT / "loam_all.c")],
        "lua": ["lua5.4", str(SCRIPTS / "work.lua")],
        "jq": ["jq", "-c", jq, str(folder / "data.json")],
        "xmllint": ["xmllint", "--format", str(folder / "data.xml")]}
    environments = {"python": fixed, "python-malloc": {**fixed, "PYTHONMALLOC": "malloc"},
                    "perl": {"PERL_HASH_SEED": "0"}}
    found = [Program(name, "application", command, environments.get(name, {}))
             for name, command in commands.items()]
    return found + [redis(folder), nginx(folder)]
