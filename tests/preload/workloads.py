"""workloads.py - what each program does under programs.py.

A workload takes a world (programs.World) and returns all that is to be compared.
It raises Failed when something went wrong that the output does not show.
"""
import http.client
import os
import pathlib
import re
import selectors
import shutil
import socket
import subprocess
import time
import zlib

OUTPUT_BYTES_MIN = 100  # of any workload
ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"
PYTHON = "/usr/bin/python3"  # Debian's: its test-suite is packaged for it
PYTHON_TESTS = """test_array test_bytes test_collections test_ctypes test_decimal test_deque
    test_dict test_functools test_gc test_generators test_heapq test_json test_list
    test_memoryview test_mmap test_ordered_dict test_pyexpat test_re test_string
    test_struct test_thread test_threading test_tuple test_unicode test_xml_etree
    test_zlib""".split()
ALL = []


class Failed(Exception):
    pass


def workload(function):
    ALL.append(function)
    return function


def text(seed, lines):
    """Lines of made-up words, always the same for a seed."""
    words, state, out = [], seed, []
    for i in range(500):
        words.append(f"{zlib.crc32(b'%d %d' % (seed, i)):x}"[:2 + i % 7])
    for _ in range(lines):
        line = []
        for _ in range(12):
            state = (state * 1103515245 + 12345) & 0x7fffffff
            line.append(words[(state >> 8) % 500])
        out.append(" ".join(line))
    return ("\n".join(out) + "\n").encode()


def normalised(output, *patterns):
    """With each match of a pattern replaced by N."""
    for pattern in patterns:
        output = re.sub(pattern.encode(), b"N", output)
    return output


# ---- interpreters --------------------------------------------------------------

@workload
def python_passes_its_own_tests(world):
    """Names and results of all single tests; not their times or order. Every object
    comes from malloc, as Python has been told to do without its own pools."""
    world.must_use_library(PYTHON)
    output = world.run(PYTHON, "-m", "test", "-v", "-j4", *PYTHON_TESTS, PYTHONHASHSEED="1",
                       PYTHONMALLOC="malloc", seconds=200)
    results = re.findall(rb"^test\w+ \([\w.]+\)(?:\n.*)? \.\.\. (?:ok|skipped .*)$", output, re.M)
    passed = re.findall(rb"^Result: SUCCESS$|^All \d+ tests OK\.$", output, re.M)
    if len(results) < 2000 or not passed:
        raise Failed(output[-3000:].decode(errors="replace"))
    return b"\n".join(sorted(results) + sorted(set(passed)))


@workload
def python_computes_the_same(world):
    world.must_use_library(PYTHON)
    output = b""
    for allocator in ("malloc", "pymalloc"):
        output += world.run(PYTHON, SCRIPTS / "work.py", PYTHONHASHSEED="1",
                            PYTHONMALLOC=allocator)
    return output


@workload
def perl_computes_the_same(world):
    world.must_use_library("/usr/bin/perl")
    return world.run("perl", SCRIPTS / "work.pl", PERL_HASH_SEED="1", PERL_PERTURB_KEYS="0")


# ---- databases -----------------------------------------------------------------

@workload
def sqlite3_answers_the_same(world):
    """Answers, the whole contents, and what it finds when it checks itself."""
    world.must_use_library("/usr/bin/sqlite3")
    script = (SCRIPTS / "work.sql").read_bytes()
    output = world.run("sqlite3", "-batch", "base.db", stdin=script)
    output += world.run("sqlite3", "-batch", ":memory:", stdin=script)
    output += world.run("sqlite3", "base.db", "PRAGMA integrity_check")
    return output + world.run("sqlite3", "base.db", ".dump")


def wait_until(ready, what):
    deadline = time.monotonic() + 30
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what} was not there after 30 s")
        time.sleep(0.02)


@workload
def redis_keeps_the_same(world):
    """A benchmark's traffic, then data whose digest is known; saved in a child while
    more comes in, and read again. Rates of the benchmark are left out."""
    # Debian's server is the tool under another name: no need of a running service.
    server = "/usr/bin/redis-check-rdb"
    world.must_use_library(server)
    path = world.folder / "socket"
    options = ("--port", "0", "--unixsocket", str(path), "--save", "", "--enable-debug-command",
               "yes", "--io-threads", "2", "--daemonize", "no", "--dbfilename", "base.rdb")

    def client(*words, stdin=b""):
        return world.run("redis-cli", "-s", "socket", *words, stdin=stdin)

    def start():
        process = world.start("redis-server", *options, executable=server)
        wait_until(lambda: path.exists() or process.poll() is not None, "redis")
        return process

    process = start()
    output = world.run("redis-benchmark", "-s", "socket", "-n", "8000", "-c", "50", "-P", "8",
                       "-r", "5000", "-d", "100", "-q", "-t",
                       "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset")
    output = b"\n".join(sorted(re.findall(rb"(\w+[^:\r\n]*): [\d.]+ requests", output)))
    client("FLUSHALL")
    commands = []
    for i in range(20000):
        commands += [f"SET key:{i} {'v' * (i % 300)}{i}", f"HSET hash:{i % 100} field:{i} {i * i}",
                     f"ZADD zset:{i % 10} {i * 7919 % 10007} member:{i}",
                     f"RPUSH list:{i % 50} {i}"]
    commands += [f"DEL key:{i}" for i in range(0, 20000, 3)]
    client("BGSAVE")
    client("--pipe", stdin="\r\n".join(commands + [""]).encode())
    wait_until(lambda: b"rdb_bgsave_in_progress:0" in client("INFO", "persistence"), "the copy")
    client("SAVE")
    for words in (("DBSIZE",), ("DEBUG", "DIGEST"), ("ZRANGE", "zset:3", "0", "99", "WITHSCORES"),
                  ("HGET", "hash:7", "field:107"), ("LRANGE", "list:4", "0", "50")):
        output += client(*words)
    client("SHUTDOWN", "NOSAVE")
    process.wait(30)
    output += normalised(world.run("redis-check-rdb", "base.rdb"), r"\[offset .*")
    start()
    output += client("DEBUG", "DIGEST")
    client("SHUTDOWN", "NOSAVE")
    return output


# ---- tools ---------------------------------------------------------------------

@workload
def git_keeps_the_same_history(world):
    """300 commits with their times, a merge, gc, and all of it read again."""
    world.must_use_library("/usr/bin/git")
    lines = text(1, 400).splitlines()

    def git(*words, when=0):
        date = f"{1700000000 + when} +0000"
        return world.run("git", "-c", "user.name=A", "-c", "user.email=a@b", "-c", "gc.auto=0",
                         "-c", "pack.threads=2", *words, GIT_AUTHOR_DATE=date,
                         GIT_COMMITTER_DATE=date, GIT_CONFIG_NOSYSTEM="1", GIT_PAGER="cat")

    git("init", "-q", "-b", "main")
    for i in range(300):
        if i == 200:
            git("checkout", "-q", "-b", "side", "main~50")
            world.write("apart", text(2, 100))
            git("add", "apart")
            git("commit", "-q", "-a", "-m", "aside", when=i)
            git("checkout", "-q", "main")
            git("merge", "-q", "-m", "merge", "side", when=i)
        lines[i * 7 % 400] = b"changed %d" % i
        world.write(f"file{i % 20}", b"\n".join(lines[i % 20:]) + b"\n")
        git("add", ".")
        git("commit", "-q", "-m", f"number {i}", when=i)
    git("gc", "-q", "--prune=now")
    output = git("fsck", "--full", "--strict") + git("count-objects", "-v")
    output += git("log", "-p", "--stat", "-M") + git("log", "--graph", "--oneline", "--all")
    output += git("rev-list", "--objects", "--all") + git("blame", "file3")
    output += git("grep", "-n", "changed", "main~100") + git("diff", "main~120", "main")
    return normalised(output, "size-pack: .*")


@workload
def gcc_compiles_the_same(world):
    """This library to an object, equal to the last byte; and C++ with much of the
    standard library in it to assembly."""
    world.must_use_library("/usr/bin/gcc")
    world.run("gcc", "-std=c11", f"-I{ROOT}/include", "-O0", "-c", ROOT / "loam_all.c", "-o", "o.o")
    world.write("a.cpp", "#include <iostream>\n#include <map>\n#include <string>\n"
                         "int main() { std::map<int, std::string> m; m[1] = \"a\";\n"
                         "for (auto &p : m) std::cout << p.second; }\n")
    world.run("g++", "-std=c++20", "-O0", "-S", "a.cpp")
    return world.read("o.o") + world.read("a.s")


@workload
def tar_and_xz_pack_the_same(world):
    """Two threads pack and unpack; what comes out is what went in."""
    world.must_use_library("/usr/bin/xz")
    shutil.copytree(ROOT / "src", world.folder / "tree" / "src")
    shutil.copytree(ROOT / "include", world.folder / "tree" / "include")
    world.write("tree/large", text(3, 20000))
    world.run("tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner",
              "-cf", "tree.tar", "tree")
    world.run("xz", "-k", "-T2", "-3", "--block-size=600KiB", "tree.tar")
    world.run("gzip", "-k", "-n", "tree.tar")
    world.run("xz", "-t", "tree.tar.xz")
    world.run("mkdir", "out")
    world.run("tar", "-xf", "tree.tar.xz", "-C", "out")
    if world.run("diff", "-r", "tree", "out/tree") != b"":
        raise Failed("what was unpacked is not what was packed")
    return world.read("tree.tar.xz") + world.read("tree.tar.gz") + world.read("tree.tar")


@workload
def sort_and_awk_give_the_same(world):
    world.must_use_library("/usr/bin/sort")
    world.write("lines", text(4, 60000))
    output = world.run("sort", "--parallel=2", "-S", "1M", "lines")
    output += world.run("sort", "-k3,3", "-k5,5nr", "-S", "20M", "lines")
    output += world.run("awk", "{ for (i = 1; i <= NF; i++) n[$i]++ } "
                               "END { for (w in n) print w, n[w] | \"sort\" }", "lines")
    return output + world.run("sed", "-n", "s/\\([a-f]*\\) \\([0-9]*\\)/\\2 \\1/gp", "lines")


@workload
def jq_and_xmllint_give_the_same(world):
    world.must_use_library("/usr/bin/jq")
    world.must_use_library("/usr/bin/xmllint")
    words = text(5, 3000).decode().split()
    rows = [f'{{"id": {i}, "name": "{word}", "deep": {{"list": [{i}, [{i * i}, "{word * 3}"]]}}}}'
            for i, word in enumerate(words)]
    world.write("a.json", "[" + ",\n".join(rows) + "]")
    output = world.run("jq", "-S", "group_by(.name) | map({name: .[0].name, count: length, "
                             "sum: (map(.deep.list[1][0]) | add)}) | sort_by(.count, .name)",
                       "a.json")
    output += world.run("jq", "-c", ".[] | select(.id % 97 == 0) | .deep.list | flatten", "a.json")
    items = "".join(f'<item id="i{i}"><name>{word}</name><!-- {i} --><b x="{word}&amp;"/></item>'
                    for i, word in enumerate(words[:20000]))
    world.write("a.xml", f'<?xml version="1.0"?><items xmlns="urn:a">{items}</items>')
    output += world.run("xmllint", "--format", "a.xml")
    output += world.run("xmllint", "--c14n", "a.xml")
    return output + world.run("xmllint", "--xpath", "count(//*[@id='i77' or @x])", "a.xml")


# ---- a server with many connections -------------------------------------------

NGINX = """
daemon off; worker_processes 2; pid nginx.pid; error_log error.log notice; {user}
events {{ worker_connections 2000; }}
http {{
    access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
    uwsgi_temp_path t4; scgi_temp_path t5; keepalive_requests 100000;
    gzip on; gzip_min_length 100; gzip_types text/plain; default_type text/plain;
    map $uri $mapped {{ default none; ~^/r(\\d+)$ /file$1; }}
    upstream back {{ server unix:back; keepalive 8; }}
    server {{ listen 127.0.0.1:{port} backlog=2000; listen unix:front backlog=2000; root files;
        location /r {{ rewrite ^ $mapped last; }}
        location /p/ {{ proxy_pass http://back/; proxy_http_version 1.1;
            proxy_set_header Connection ""; }} }}
    server {{ listen unix:back; root files; }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def fetch_all(path):
    """Whole files, ranges, packed, by proxy, and what is not there."""
    output = b""
    connection = UnixConnection(path)
    for i in range(30):
        for prefix, headers in (("/file", {}), ("/r", {}), ("/p/file", {}), ("/none", {}),
                                ("/file", {"Range": f"bytes={i}-{i * 20}"}),
                                ("/p/file", {"Accept-Encoding": "gzip"})):
            connection.request("GET", f"{prefix}{i}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.getheader("Content-Encoding") == "gzip":
                body = zlib.decompress(body, 31)
            output += b"%d %d %08x\n" % (answer.status, len(body), zlib.crc32(body))
    return output


def fetch_at_once(path, count):
    """Open `count` connections, then ask by each, then read all answers."""
    sizes = {}
    with selectors.DefaultSelector() as selector:
        for i in range(count):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            selector.register(connection, selectors.EVENT_READ, i)
            sizes[i] = 0
        for key in list(selector.get_map().values()):
            request = f"GET /file{key.data % 30} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            key.fileobj.sendall(request.encode())
        while selector.get_map():
            for key, _ in selector.select(30) or [(None, 0)]:
                if key is None:
                    raise Failed("an answer did not come")
                data = key.fileobj.recv(1 << 20)
                sizes[key.data] += len(data)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
    return repr(sorted(sizes.items())).encode()


@workload
def nginx_serves_the_same(world):
    """Files by 600 connections at once, by ab's 200, before and after its workers were
    replaced; times and rates of ab are left out."""
    world.must_use_library("/usr/sbin/nginx")
    for i in range(30):
        world.write(f"files/file{i}", text(i, 10 + i * i * 3))
    port = free_port()
    user = "user root root;" if os.geteuid() == 0 else ""
    world.write("nginx.conf", NGINX.format(port=port, user=user))
    world.write("error.log", "")
    front = str(world.folder / "front")
    command = ("nginx", "-p", str(world.folder), "-c", str(world.folder / "nginx.conf"), "-e",
               "error.log")
    server = world.start(*command)
    wait_until(lambda: (world.folder / "nginx.pid").exists() or server.poll() is not None, "nginx")
    output = fetch_all(front) + fetch_at_once(front, 600)
    for round_number in (1, 2):
        load = world.run("ab", "-q", "-k", "-c", "200", "-n", "15000", "-H",
                         "Accept-Encoding: gzip", f"http://127.0.0.1:{port}/file9")
        output += b"".join(re.findall(rb"(?:Complete|Failed|Keep-Alive) requests: .*\n|"
                                      rb"Document Length: .*\n", load))
        world.run(*command, "-s", "reload")
        wait_until(lambda gone=2 * round_number: world.read("error.log").count(
            b"exited with code 0") >= gone, "the end of the old workers")
        output += fetch_all(front) + fetch_at_once(front, 600)
    world.run(*command, "-s", "quit")
    try:
        status = server.wait(30)
    except subprocess.TimeoutExpired:
        raise Failed("nginx did not quit") from None
    log = world.read("error.log")
    bad = re.findall(rb".*(?:\[(?:emerg|alert|crit|error)\]|exited on signal).*", log)
    bad = [line for line in bad if b"none" not in line]  # the files that are not there
    return output + b"status %d\n" % status + b"\n".join(bad)
