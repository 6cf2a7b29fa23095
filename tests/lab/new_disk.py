#!/usr/bin/env python3
"""A core server's disk is replaced by an empty one: files that nobody opens are refilled as well,
and afterwards another site may lose its own.

usage: new_disk.py BINDIR DIRECTORY
"""

import json
import os
import shutil
import sys

from cluster import Cluster, Failure, main_guard, wait_for

FILES = 12


def write_files(cluster):
    data = {}
    for n in range(FILES):
        data[n] = os.urandom(300_000 + n * 100_000)
        with open(f"{cluster.mount(cluster.sites[0])}/f{n}", "wb") as f:
            f.write(data[n])
            os.fsync(f.fileno())
    return data


def blocks_on(cluster, core):
    """How many blocks of each file the server stores, as it says itself; None: it does not answer."""
    shown = [json.loads(cluster.distcloud("--json", "file", "show", f"/f{n}"))["blocks"] for n in range(FILES)]
    return [b["blocks"] for blocks in shown for b in blocks if b["server"] == core.id]


def test(cluster):
    cluster.start()
    data = write_files(cluster)
    cluster.wait_healthy(60)
    core = cluster.of("core", cluster.sites[1])[0]
    before = blocks_on(cluster, core)
    if not any(before):
        raise Failure(f"{core} stores nothing: this would prove nothing")
    core.stop()
    shutil.rmtree(core.base)
    os.makedirs(core.base)
    core.format()
    core.start()
    wait_for("the new disk to have what the old one had", lambda: blocks_on(cluster, core) == before, 60, 0.2)
    cluster.wait_healthy(120)
    for server in cluster.of("core", cluster.sites[0]):
        server.kill()
    for n in range(FILES):
        with open(f"{cluster.mount(cluster.sites[1])}/f{n}", "rb") as f:
            if f.read() != data[n]:
                raise Failure(f"f{n} has other bytes")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
