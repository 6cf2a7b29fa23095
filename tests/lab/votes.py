#!/usr/bin/env python3
"""Votes by configuration: several hint servers in a site, and a witness site with a vote and no disks.

1. 3 + 2 + 2 votes. The site with three dies: the other four go on, and status says that no more may fail.
   Then the four others die: the three alone are fenced, and their users only wait; when a fourth one
   is back, all that waited is done.
2. 2 + 1 + 1 votes: status warns of the even number. With a witness there are five, and the site with two
   may die.

usage: votes.py BINDIR DIRECTORY
"""

import mmap
import os
import pickle
import struct
import sys
import time

from cluster import Cluster, Failure, clear, main_guard, wait_for
from workload import Writer, check

SHAPE = (3, 2, 2)


class WriterApart:
    """A Writer in a process of its own. One that starts programs closes its files in each, and closing one on
    a fenced mount waits."""

    def __init__(self, number, path, result):
        self.path, self.result, self.said, self.shared = path, result, None, mmap.mmap(-1, 4096)
        self.pid = os.fork()
        if self.pid == 0:
            self.work(Writer(number, path))
            os._exit(0)

    def work(self, writer):
        writer.start()
        while not self.shared[8] and writer.is_alive():
            self.shared[:8] = struct.pack("<q", writer.count())
            writer.join(0.02)
        self.shared[9] = writer.error is not None
        writer.stop()
        with open(self.result, "wb") as f:
            pickle.dump((writer.number, writer.slots, writer.acked, writer.started, str(writer.error or "")), f)

    @property
    def error(self):
        return self.said or ("an error" if self.shared[9] else None)

    def count(self):
        return struct.unpack("<q", self.shared[:8])[0]

    def stop(self):
        self.shared[8] = 1
        os.waitpid(self.pid, 0)
        with open(self.result, "rb") as f:
            self.number, self.slots, self.acked, self.started, self.said = pickle.load(f)
        return True


def expect_status(cluster, votes, heard, margin, warnings):
    """warnings: a part of each, in their order."""
    def as_said():
        status = cluster.status()
        said.clear()
        said.update(votes=len(status["votes"]), heard=sum(v["heard"] for v in status["votes"]),
                    margin=status["margin"], warnings=status["warnings"])
        return (said["votes"], said["heard"], said["margin"]) == (votes, heard, margin) and \
            len(said["warnings"]) == len(warnings) and all(w in s for w, s in zip(warnings, said["warnings"]))
    said = {}
    try:
        wait_for("status to say so", as_said, 20, 0.2)
    except Failure:
        raise Failure(f"status says {said}, not {votes} votes, {heard} heard, margin {margin}, {warnings}") from None


def kill(servers):
    for s in servers:
        s.kill()


def start(servers):
    for s in servers:
        s.start()


def goes_on(writer, what):
    count = writer.count()
    wait_for(what, lambda: writer.count() > count + 20 or writer.error, 30)
    if writer.error:
        raise Failure(f"{what}: {writer.error}")


def stands_still(writer, seconds):
    """Waits until nothing was acknowledged for so long, and nobody was told an error."""
    last = [writer.count(), time.monotonic()]

    def still():
        if writer.error:
            raise Failure(f"the minority is told {writer.error}")
        if writer.count() != last[0]:
            last[:] = writer.count(), time.monotonic()
        return time.monotonic() - last[1] >= seconds
    wait_for("the minority to be fenced", still, 15, 0.1)
    return last[0]


def majority_goes_on(cluster, site, writer):
    """A whole site dies that has not the majority of votes."""
    began = time.monotonic()
    kill(cluster.of(site=site))
    goes_on(writer, f"the writer to go on without {site}")
    with open(os.path.join(cluster.mount(cluster.sites[1]), f"made-without-{site}"), "w") as f:
        f.write("there")
    print(f"{site} is dead: longest gap of a writer elsewhere {writer.longest_gap(began):.2f} s", flush=True)


def minority_waits(cluster, here):
    """Three of seven votes are left, and all disks: nobody is told an error, nothing is acknowledged."""
    rest = [s for site in cluster.sites[1:] for s in cluster.of("hint", site)]
    kill(rest)
    count = stands_still(here, 3)
    start(rest[:1])
    goes_on(here, "the writer of the minority to go on")
    print(f"three of seven votes alone: all waited, and went on {here.count() - count} times so far", flush=True)
    start(rest[1:])


def one_site_has_most(cluster):
    first, second = cluster.sites[:2]
    cluster.start()
    cluster.wait_healthy()
    expect_status(cluster, 7, 7, 3, [])
    there = Writer(1, os.path.join(cluster.mount(second), "w1"))
    there.start()
    majority_goes_on(cluster, first, there)
    expect_status(cluster, 7, 4, 0, ["no further hint server may fail (4 of 7 votes heard, 4 needed)"])
    start(cluster.of(site=first))
    cluster.wait_mounted(60)
    cluster.wait_healthy(120)
    expect_status(cluster, 7, 7, 3, [])
    if not there.stop() or there.error:
        raise Failure(f"the writer: {there.error or 'hangs'}")
    here = WriterApart(2, os.path.join(cluster.mount(first), "w2"), os.path.join(cluster.root, "acked"))
    goes_on(here, "a writer in the site with three votes")
    minority_waits(cluster, here)
    if not here.stop() or here.error:
        raise Failure(f"the writer of the minority: {here.error or 'hangs'}")
    cluster.wait_healthy(120)
    for site in cluster.sites:
        for w, name in ((there, "w1"), (here, "w2")):
            problems = check(os.path.join(cluster.mount(site), name), w)
            if problems:
                raise Failure(f"in {site}: {problems[0]}")
        with open(os.path.join(cluster.mount(site), f"made-without-{first}")) as f:
            if f.read() != "there":
                raise Failure("a file that the majority made is not there")


def a_witness(cluster, bindir, root):
    even = Cluster(bindir, root, cores=1, hints=(2, 1, 1))
    try:
        even.start()
        even.wait_healthy()
        expect_status(even, 4, 4, 1, ["4 votes are no better than 3: use an odd number", "holds 2 of 4 votes"])
    finally:
        even.stop()
        clear(even)
    cluster.start()
    cluster.wait_healthy()
    expect_status(cluster, 5, 5, 2, [])
    writer = Writer(3, os.path.join(cluster.mount(cluster.sites[1]), "w3"))
    writer.start()
    goes_on(writer, "a writer")
    majority_goes_on(cluster, cluster.sites[0], writer)
    expect_status(cluster, 5, 3, 0, ["no further hint server may fail (3 of 5 votes heard, 3 needed)"])
    start(cluster.of(site=cluster.sites[0]))
    cluster.wait_mounted(60)
    cluster.wait_healthy(120)
    if not writer.stop() or writer.error:
        raise Failure(f"the writer: {writer.error or 'hangs'}")


def test(cluster):
    one_site_has_most(cluster)
    cluster.stop()
    clear(cluster)
    witnessed = Cluster(cluster.bindir, cluster.root, cores=1, hints=(2, 1, 1, 1))
    try:
        a_witness(witnessed, cluster.bindir, cluster.root)
    finally:
        witnessed.stop()


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], cores=1, hints=SHAPE)))
