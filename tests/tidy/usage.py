#!/usr/bin/env python3
"""Every server, wrongly called: the exit status its page promises and a sentence that says what is wrong.

usage: usage.py BINDIR
"""

import fcntl
import os
import subprocess
import sys
import tempfile

CLUSTER = """[cluster]
id = 1
name = test
[site here]
id = 1
prefixes = 127.0.0.0/8 192.0.2.0/24
[hint 18]
address = 127.9.9.8:7200
vote = yes
"""
STOPPED, FAILED, USAGE = 0, 1, 2
KINDS = {"core": 11, "hint": 18, "access": 19}
LISTEN = {"core": "127.9.9.1:7100", "hint": "127.9.9.8:7200", "access": "127.9.9.9:7300"}
KEEPS_DATA = ("core", "hint")


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def config(root, kind, **changes):
    keys = {"id": KINDS[kind], "kind": kind, "listen": LISTEN[kind],
            "directory": f"{root}/{kind}"}
    if kind == "access":
        keys["mount"] = f"{root}/mnt"
    keys.update(changes)
    return CLUSTER + "[server]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


class Checker:
    def __init__(self, bindir, root):
        self.bindir, self.root, self.problems, self.cases = bindir, root, [], 0

    def call(self, kind, args, status, *words):
        """`kind`'s server with these arguments ends with `status` and says all of `words`."""
        self.cases += 1
        what = f"distcloud-{kind} {' '.join(args)}"
        try:
            done = subprocess.run([os.path.join(self.bindir, f"distcloud-{kind}"), *args], text=True,
                                  capture_output=True, timeout=20)
        except subprocess.TimeoutExpired:
            self.problems.append(f"{what}: still runs after 20 s")
            return
        if done.returncode != status:
            self.problems.append(f"{what}: ends with {done.returncode}, not {status}: {done.stderr}")
        self.problems += [f"{what}: does not say {w!r}: {done.stderr}" for w in words
                          if w not in done.stderr]

    def with_config(self, kind, text, status, *words, format=False):
        path = write(f"{self.root}/{kind}.conf", text)
        self.call(kind, ["--config", path] + (["--format"] if format else []), status, *words)


def wrong_arguments(c, kind):
    c.call(kind, [], USAGE, "--config FILE", "usage:")
    c.call(kind, ["--config"], USAGE, "config", "usage:")
    c.call(kind, ["--sideways"], USAGE, "sideways", "usage:")
    c.call(kind, ["--config", "/nowhere", "more"], USAGE, "an argument too many")


def wrong_configuration(c, kind):
    other = "hint" if kind == "core" else "core"
    c.call(kind, ["--config", f"{c.root}/nowhere.conf"], USAGE, "nowhere.conf", "No such file")
    c.with_config(kind, config(c.root, other), USAGE, f"{kind}.conf", other)
    c.with_config(kind, config(c.root, kind, colour="blue"), USAGE, f"{kind}.conf:", "colour")
    c.with_config(kind, config(c.root, kind, memory="much"), USAGE, f"{kind}.conf:", "much")
    c.with_config(kind, CLUSTER, USAGE, "[server]")


def wrong_directory(c, kind):
    in_file = write(f"{c.root}/file", "") + "/dir"
    c.with_config(kind, config(c.root, kind, directory=in_file), FAILED, in_file, "Not a directory")
    if kind in KEEPS_DATA:
        c.with_config(kind, config(c.root, kind), FAILED, f"{c.root}/{kind}", "--format")
        c.with_config(kind, config(c.root, kind), STOPPED, format=True)
        c.with_config(kind, config(c.root, kind), FAILED, "already", format=True)
        c.with_config(kind, config(c.root, kind, id=KINDS[kind])
                      .replace("[cluster]\nid = 1", "[cluster]\nid = 2"), FAILED,
                      "of cluster 1", "of cluster 2")
    else:
        c.call(kind, ["--config", "x", "--format"], USAGE, "format")
    os.makedirs(f"{c.root}/{kind}", exist_ok=True)
    with open(f"{c.root}/{kind}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        c.with_config(kind, config(c.root, kind), FAILED, "in use by another process")


def wrong_address(c, kind):
    """192.0.2.1 belongs to no machine (RFC 5737)."""
    text = config(c.root, kind).replace(LISTEN[kind], "192.0.2.1:7100")
    c.with_config(kind, text, FAILED, "192.0.2.1:7100", "assign")


def main():
    with tempfile.TemporaryDirectory() as root:
        c = Checker(sys.argv[1], root)
        for kind in KINDS:
            wrong_arguments(c, kind)
            wrong_configuration(c, kind)
            wrong_directory(c, kind)
            wrong_address(c, kind)
    print("\n".join(c.problems) or f"{c.cases} wrong calls, each refused with a reason")
    return 1 if c.problems else 0


if __name__ == "__main__":
    sys.exit(main())
