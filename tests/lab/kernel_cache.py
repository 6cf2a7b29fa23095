#!/usr/bin/env python3
"""The kernel's page cache outlives its access server, but not for long (trap A11).

A process reads one cached page as fast as it can while its access server is stopped (SIGSTOP), or
fenced because no hint server answers. The page may be served for as long as the kernel's lease, half
a second; a read that begins after another site's write was acknowledged never gives what was there
before; afterwards all goes on by itself with what is there now. Loads from a mapping are the limit:
they give old bytes while the server is stopped, and new ones once it goes on.

usage: kernel_cache.py BINDIR DIRECTORY
"""

import mmap
import os
import signal
import struct
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for
from workload import PAGE, parse, record

KERNEL_LEASE = 0.5   # validity that attributes are given with at most
SHARED_LEASE = 0.8   # after the last answered heartbeat
SESSION = 5.0
MARGIN = 0.4         # of a busy machine


class Reader:
    """A process that reads page 0 of a file through one handle again and again, and keeps what it
    saw where this process sees it too."""

    FIELDS = struct.Struct("=QQQQd")  # seen, stale, reads, errors, end of the last one
    TOLD = 1024  # this one the other process writes

    def __init__(self, path):
        self.shared = mmap.mmap(-1, PAGE)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.loop(path)
            finally:
                os._exit(1)

    def loop(self, path):
        fd = os.open(path, os.O_RDONLY)
        seen = stale = reads = errors = ended = 0
        while True:
            told = self.told
            try:
                seen = parse(os.pread(fd, PAGE, 0))[1]
                reads, ended = reads + 1, time.monotonic()
                stale += seen < told
            except OSError:  # a lost handle
                errors += 1
            self.FIELDS.pack_into(self.shared, 0, seen, stale, reads, errors, ended)

    def get(self):
        return dict(zip(("seen", "stale", "reads", "errors", "ended"), self.FIELDS.unpack_from(self.shared, 0)))

    @property
    def told(self):
        return struct.unpack_from("=Q", self.shared, self.TOLD)[0]

    def tell(self, number):
        """From now on nothing older may be read."""
        struct.pack_into("=Q", self.shared, self.TOLD, number)

    def sees(self, number, seconds):
        wait_for(f"a reader to see {number}", lambda: self.get()["seen"] >= number, seconds, 0.005)
        self.check()

    def goes_on(self, number, seconds):
        """With what is there now, or, as the handle of a session that ended, with EIO."""
        wait_for(f"a reader to see {number} or EIO",
                 lambda: self.get()["seen"] >= number or self.get()["errors"], seconds, 0.005)
        self.check()

    def check(self):
        if self.get()["stale"]:
            raise Failure(f"{self.get()['stale']} reads began after a write elsewhere was acknowledged "
                          "and gave what was there before")

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def served_after(reader, since, what, limit):
    """How long after `since` cached pages were still read; asks once reads stand still."""
    end = time.monotonic() + limit + 2
    while time.monotonic() < max(end, reader.get()["ended"]):
        if time.monotonic() - reader.get()["ended"] > 1.0:
            break
        time.sleep(0.05)
    took = reader.get()["ended"] - since
    reader.check()
    if took > limit:
        raise Failure(f"{what}: cached pages were read for {took:.2f} s, allowed are {limit:.2f} s")
    print(f"{what}: cached pages were read for {max(took, 0):.2f} s", flush=True)


def put(path, number):
    with open(path, "r+b", buffering=0) as f:
        f.write(record(1, number, 0))
        os.fsync(f.fileno())


def warm(reader, number):
    reader.sees(number, 20)
    before = reader.get()["reads"]
    wait_for("reads from the page cache", lambda: reader.get()["reads"] > before + 500, 20)


def stopped(cluster, path, seconds, what):
    """The server of site A is stopped for a while; site B overwrites meanwhile."""
    server = cluster.of("access", cluster.sites[0])[0]
    here, there = (f"{cluster.mount(s)}/{path}" for s in cluster.sites[:2])
    reader = Reader(here)
    try:
        put(there, 1)
        reader.tell(1)
        warm(reader, 1)
        fd = os.open(here, os.O_RDWR)
        view = mmap.mmap(fd, PAGE)
        parse(view[:])
        since = time.monotonic()
        server.signal(signal.SIGSTOP)
        try:
            put(there, 2)
            written = time.monotonic() - since
            reader.tell(2)
            served_after(reader, since, f"{what}, {written:.1f} s until overwritten", KERNEL_LEASE + MARGIN)
            if parse(view[:])[1] != 1:
                raise Failure("a mapping on a stopped server gives what nobody could have brought")
            while time.monotonic() < since + seconds:
                time.sleep(0.05)
        finally:
            server.signal(signal.SIGCONT)
        reader.goes_on(2, 20)
        if seconds < SESSION:
            reader.sees(2, 1)
        wait_for("a new open to read what is there now", lambda: number_of(here) == 2, 20)
        wait_for("the mapping to show what is there now", lambda: parse(view[:])[1] == 2, 20)
    finally:
        server.signal(signal.SIGCONT)
        reader.stop()
    view.close()
    os.close(fd)


def number_of(path):
    with open(path, "rb", buffering=0) as f:
        return parse(f.read(PAGE))[1]


def holder_stopped(cluster):
    """The same when A wrote the page itself and holds the file: B takes it over after the session."""
    here = f"{cluster.mount(cluster.sites[0])}/held"
    with open(here, "wb") as f:
        f.write(record(1, 1, 0))
    server = cluster.of("access", cluster.sites[0])[0]
    reader = Reader(here)
    try:
        reader.tell(1)
        warm(reader, 1)
        put(here, 1)  # exclusive again
        warm(reader, 1)
        since = time.monotonic()
        server.signal(signal.SIGSTOP)
        put(f"{cluster.mount(cluster.sites[1])}/held", 2)
        reader.tell(2)
        print(f"a stopped holder: overwritten elsewhere after {time.monotonic() - since:.1f} s", flush=True)
        served_after(reader, since, "a stopped holder", KERNEL_LEASE + MARGIN)
        server.signal(signal.SIGCONT)
        reader.goes_on(2, 30)
        wait_for("a new open to read what is there now", lambda: number_of(here) == 2, 20)
    finally:
        server.signal(signal.SIGCONT)
        reader.stop()


def fenced(cluster):
    """No hint server answers: reads under a shared lease end with it, those of the holder with its
    session, and go on when they answer again. (Each process sees its own file.)"""
    a, b = (cluster.mount(s) for s in cluster.sites[:2])
    for name in ("shared", "own"):
        with open(f"{a}/{name}", "wb") as f:
            f.write(record(1, 1, 0))
    put(f"{b}/shared", 2)
    put(f"{a}/own", 2)
    readers = {"shared": Reader(f"{a}/shared"), "own": Reader(f"{a}/own")}
    try:
        for r in readers.values():
            r.tell(2)
            warm(r, 2)
        since = time.monotonic()
        for s in cluster.of("hint"):
            s.signal(signal.SIGSTOP)
        try:
            served_after(readers["shared"], since, "fenced, shared lease", SHARED_LEASE + MARGIN)
            served_after(readers["own"], since, "fenced, holder", SESSION + MARGIN)
        finally:
            for s in cluster.of("hint"):
                s.signal(signal.SIGCONT)
        for name, r in readers.items():
            before = r.get()["reads"]
            wait_for(f"reads of {name} to go on", lambda: r.get()["reads"] > before, 30)
        put(f"{b}/shared", 3)
        readers["shared"].tell(3)
        readers["shared"].sees(3, 20)
    finally:
        for r in readers.values():
            r.stop()


def test(cluster):
    cluster.start()
    cluster.wait_healthy()
    for path in ("short", "long"):
        with open(f"{cluster.mount(cluster.sites[1])}/{path}", "wb") as f:
            f.write(record(1, 0, 0))
    stopped(cluster, "short", 2.5, "stopped for less than its session")
    stopped(cluster, "long", SESSION + 3, "stopped for longer than its session")
    holder_stopped(cluster)
    fenced(cluster)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
