#!/usr/bin/env python3
"""Core servers are drained, then a whole site is removed, while files are written: nobody waits for it, nothing
is left where it was, and what was emptied can be killed. A drained server that is dead already costs nothing either.

usage: drain.py BINDIR DIRECTORY
"""

import json
import os
import sys
import threading
import time

from cluster import Cluster, Failure, main_guard, wait_for
from workload import PAGE, record

FILES = 12
SIZE = 1_500_000
GAP_MAX = 3.0       # seconds without a completed fsync; a busy machine, and the file is given back for the move


class Guest:
    """Writes and syncs pages of one file all the time, as a machine does with its disk."""

    def __init__(self, path, number):
        self.path, self.number, self.seq, self.longest = path, number, 0, 0.0
        self.stopping, self.error = threading.Event(), None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            last = time.monotonic()
            while not self.stopping.wait(0.005):
                os.pwrite(fd, record(self.number, self.seq + 1, self.seq % 64), self.seq % 64 * PAGE)
                os.fsync(fd)
                self.seq += 1
                self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
            os.close(fd)
        except OSError as e:
            self.error = e

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.error or self.seq < 50:
            raise Failure(f"the writer of {self.path} ended after {self.seq} writes: {self.error}")
        if self.longest > GAP_MAX:
            raise Failure(f"the writer of {self.path} waited {self.longest:.1f} s for one write")
        print(f"{self.seq} writes and syncs meanwhile, the longest took {self.longest:.2f} s", flush=True)

    def check(self, path):
        with open(path, "rb") as f:
            for page in range(min(self.seq, 64)):
                last = self.seq - (self.seq - 1 - page) % 64
                if f.read(PAGE) != record(self.number, last, page):
                    raise Failure(f"{path}: page {page} is not that of write {last}")


def write_files(cluster):
    data = {}
    for n in range(FILES):
        data[n] = os.urandom(SIZE)
        with open(f"{cluster.mount(cluster.sites[n % len(cluster.sites)])}/f{n}", "wb") as f:
            f.write(data[n])
            os.fsync(f.fileno())
    return data


def read_files(cluster, site, data):
    for n, want in data.items():
        with open(f"{cluster.mount(site)}/f{n}", "rb") as f:
            if f.read() != want:
                raise Failure(f"/f{n} has other bytes in {site}")


def state(cluster, server):
    servers = json.loads(cluster.distcloud("--json", "server", "list"))
    return next(s["state"] for s in servers if s["id"] == server.id)


def blocks_on(cluster, servers):
    ids, n = {s.id for s in servers}, 0
    for name in list(range(FILES)):
        shown = json.loads(cluster.distcloud("--json", "file", "show", f"/f{name}"))["blocks"]
        n += sum(b["blocks"] or 0 for b in shown if b["server"] in ids)
    return n


def wait_drained(cluster, servers):
    for s in servers:
        wait_for(f"{s} to be drained", lambda: state(cluster, s) == "drained", 120)
    wait_for("the last blocks to go", lambda: blocks_on(cluster, servers) == 0, 60)


def refused(cluster, *words, says):
    out = cluster.distcloud(*words, well=(2, 64))
    if says not in out:
        raise Failure(f"{' '.join(words)}: {out!r} does not say {says!r}")


def test(cluster):
    cluster.start()
    data = write_files(cluster)
    a, b, c, d = cluster.sites
    refused(cluster, "server", "drain", "4711", says="no core server")
    refused(cluster, "server", "drain", "first", says="no server's number")
    refused(cluster, "site", "remove", "atlantis", says="no core server")

    guest = Guest(f"{cluster.mount(a)}/disk", 1)
    first = cluster.of("core", b)[0]
    cluster.distcloud("server", "drain", str(first.id))
    wait_drained(cluster, [first])
    guest.stop()
    first.kill()
    cluster.wait_healthy(60)
    print(f"{first} is drained and dead, and not missed", flush=True)

    dead = cluster.of("core", c)[0]
    dead.kill()
    cluster.distcloud("server", "drain", str(dead.id))
    wait_for(f"{dead} to be drained", lambda: state(cluster, dead) == "drained", 120)
    cluster.wait_healthy(60)
    print(f"{dead} was dead, and is drained", flush=True)

    guest = Guest(f"{cluster.mount(a)}/disk2", 2)
    cluster.distcloud("site", "remove", d)
    wait_drained(cluster, cluster.of("core", d))
    guest.stop()
    refused(cluster, "site", "remove", c, says="too little")
    for s in cluster.of("core", d):
        s.kill()
    cluster.wait_healthy(60)
    read_files(cluster, d, data)
    for s in cluster.of("core", c):
        if s is not dead:
            s.kill()
    read_files(cluster, b, data)
    guest.check(f"{cluster.mount(b)}/disk2")
    print(f"{d} has no core server any more, {c} is down: everything can be read", flush=True)

    for s in cluster.of("core", c):
        s.start()
    cluster.distcloud("server", "undrain", str(dead.id))
    wait_for(f"{dead} to be up", lambda: state(cluster, dead) == "up", 60)
    cluster.wait_healthy(60)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], sites=4, cores=2,
                                      options={"access": {"block": "256KiB"}})))
