#!/usr/bin/env python3
"""A file is written on in another of four sites: its home replica goes there while the writer goes on, the
server it left drops its blocks, and then any one of its new sites may die.

usage: follow_writer.py BINDIR DIRECTORY
"""

import json
import os
import sys

from cluster import Cluster, Failure, main_guard, wait_for

BLOCKS = 6
BLOCK = 1 << 20


def show(cluster):
    return json.loads(cluster.distcloud("--json", "file", "show", "/image"))


def blocks_in(cluster, site):
    return sum(b["blocks"] or 0 for b in show(cluster)["blocks"] if b["site"] == site)


def make(cluster):
    data = bytearray(os.urandom(BLOCKS * BLOCK))
    with open(f"{cluster.mount(cluster.sites[0])}/image", "wb") as f:
        f.write(data)
        os.fsync(f.fileno())
    return data


def write_on(fd, data, until, what):
    """The guest in its new site: writes and flushes while it waits."""
    def write():
        at = int.from_bytes(os.urandom(4), "little") % (len(data) - 4096)
        data[at:at + 4096] = os.urandom(4096)
        os.pwrite(fd, data[at:at + 4096], at)
        os.fsync(fd)
        return until()
    wait_for(what, write, 60)


def test(cluster):
    cluster.start()
    data = make(cluster)
    before = show(cluster)["sites"]
    new = next(s for s in cluster.sites if s not in before)
    fd = os.open(f"{cluster.mount(new)}/image", os.O_RDWR)
    write_on(fd, data, lambda: show(cluster)["home"] == new, f"the home of /image in {new}")
    write_on(fd, data, lambda: not show(cluster)["moving"], "a whole replica there")
    wait_for(f"no block left in {before[0]}", lambda: blocks_in(cluster, before[0]) == 0, 90)
    os.close(fd)
    cluster.wait_healthy(60)
    for server in cluster.of("core", before[1]):
        server.kill()
    with open(f"{cluster.mount(before[0])}/image", "rb") as f:
        if f.read() != data:
            raise Failure("the file has other bytes")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], sites=4, cores=1,
                                      options={"access": {"follow_writer": "2s", "block": "1MiB"}})))
