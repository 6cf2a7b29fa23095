#!/usr/bin/env python3
"""Deleted data is given back on every core server (P8), but never under a file that is open.

usage: space.py BINDIR DIRECTORY
"""

import json
import os
import sys

from cluster import Cluster, Failure, main_guard, wait_for

BYTES = 64 << 20


def stored(cluster):
    """Bytes that all core servers store; what is promised to writers comes and goes, so without."""
    total = 0
    for s in cluster.of("core"):
        space = json.loads(cluster.distcloud("--json", "server", "show", str(s.id)))["space"]
        total += space["total"] - space["free"] - space["granted"] - space["reserve"]
    return total


def test(cluster):
    cluster.start()
    cluster.wait_healthy(30)
    before = stored(cluster)
    a, b = (cluster.mount(s) for s in cluster.sites[:2])
    data = os.urandom(1 << 20)
    with open(f"{a}/big", "wb") as f:
        for _ in range(BYTES >> 20):
            f.write(data)
        os.fsync(f.fileno())
    wait_for("three copies in use", lambda: stored(cluster) - before >= 3 * BYTES, 30, 0.5)
    reader = os.open(f"{b}/big", os.O_RDONLY)
    if os.pread(reader, 4096, 0) != data[:4096]:
        raise Failure("the other site reads other bytes")
    os.unlink(f"{a}/big")
    if os.path.exists(f"{b}/big"):
        raise Failure("a removed file is still there in the other site")
    os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
    for i in range(BYTES >> 20):
        if os.pread(reader, 1 << 20, i << 20) != data:
            raise Failure(f"an open file that was removed elsewhere lost its data at {i} MiB")
    if stored(cluster) - before < 3 * BYTES:
        raise Failure("space of an open file was given back")
    os.close(reader)
    wait_for("the space of three copies to be given back",
             lambda: stored(cluster) - before < BYTES / 16, 90, 0.5)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
