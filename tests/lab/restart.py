#!/usr/bin/env python3
"""The demo's promise: it starts fast, stops cleanly, and starts again with its data.

usage: restart.py BINDIR DIRECTORY
"""

import os
import sys
import time

from cluster import Cluster, Failure, main_guard


def test(cluster):
    began = time.monotonic()
    cluster.start()
    took = time.monotonic() - began
    if took > 30:
        raise Failure(f"took {took:.0f} s to start; the demo promises 30")
    data = os.urandom(3 << 20)
    with open(f"{cluster.mount(cluster.sites[0])}/kept", "wb") as f:
        f.write(data)
    os.makedirs(f"{cluster.mount(cluster.sites[1])}/a/b/c")
    for site in cluster.sites:
        with open(f"{cluster.mount(site)}/kept", "rb") as f:
            if f.read() != data:
                raise Failure(f"{site} reads other bytes than were written")
    cluster.wait_healthy(30)
    cluster.stop()
    cluster.start()
    for site in cluster.sites:
        with open(f"{cluster.mount(site)}/kept", "rb") as f:
            if f.read() != data:
                raise Failure(f"{site} reads other bytes after a restart")
        if not os.path.isdir(f"{cluster.mount(site)}/a/b/c"):
            raise Failure(f"{site} misses a directory after a restart")
    cluster.wait_healthy(30)
    show = cluster.distcloud("file", "show", "/kept")
    for word in ("size", "home", "replica"):
        if word not in show:
            raise Failure(f"file show does not tell its {word}:\n{show}")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
