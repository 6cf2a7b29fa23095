#!/usr/bin/env python3
"""The demo's promise: it starts fast, stops cleanly, and starts again with its data. What the
administrator's command and SIGUSR1 show of running servers.

usage: restart.py BINDIR DIRECTORY
"""

import json
import os
import signal
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for


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
    check_counters(cluster)
    check_trace(cluster)


def check_counters(cluster):
    """Every server tells an operator what it counted; a hint server even without a leader."""
    for server in cluster.servers:
        stats = json.loads(cluster.distcloud("--json", "server", "show", str(server.id)))
        if (stats["server"], stats["kind"], stats["site"]) != (server.id, server.kind, server.site):
            raise Failure(f"{server} shows itself as {stats}")
        if stats["loop"]["turns"] == 0 or stats["net"]["frames_in"] == 0:
            raise Failure(f"{server} counts nothing: {stats}")
    text = cluster.distcloud("server", "show", str(cluster.servers[0].id))
    if "longest_us" not in text:
        raise Failure(f"server show does not print its counters:\n{text}")


def check_trace(cluster):
    """SIGUSR1: the trace of the last events goes to the log."""
    for server in cluster.servers:
        size = os.path.getsize(server.base + ".log")
        server.signal(signal.SIGUSR1)
        wait_for(f"{server} to write its trace", lambda: os.path.getsize(server.base + ".log") > size)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
