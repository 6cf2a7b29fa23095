#!/usr/bin/env python3
"""Strangers on every port of the real servers (P9), which a sanitizer watches.

First such as no server can take for one of the cluster: garbage, lies, foreign greetings, valid messages
without one. A writer goes on meanwhile and nothing it was promised is lost. Then others that greet
in order and send valid messages with senseless contents in whatever state the server is: such a
peer may spoil data, that is for TLS to prevent, but nothing crashes, leaks or loops. Errors
are counted, and logged within bounds.

usage: hostile.py BINDIR DIRECTORY, of a build with -DDC_SANITIZE=address
"""

import json
import os
import subprocess
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for
from workload import Writer, check

SECONDS = int(os.environ.get("SECONDS", "8"))
SEED = int(os.environ.get("SEED", "1"))
LOG_LINES_MAX = 50 * SECONDS  # of one server and phase: what repeats is said seldom
REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "CHECK failed")


def reports(cluster):
    found = []
    for s in cluster.servers:
        with open(s.base + ".log", errors="replace") as f:
            found += [f"{s}: {line.strip()}" for line in f if any(r in line for r in REPORTS)]
    return found


def state(server):
    """What a process holds: descriptors and memory."""
    pid = server.pid()
    with open(f"/proc/{pid}/status") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), rss


def log_lines(server):
    with open(server.base + ".log", errors="replace") as f:
        return sum(1 for _ in f)


def counters(cluster, server):
    return json.loads(cluster.distcloud("server", "show", str(server.id), "--json"))["net"]


def attack(cluster, id_of_cluster):
    """All ports at the same time."""
    program = os.path.join(cluster.bindir, "hostile_peer")
    peers = []
    for n, s in enumerate(cluster.servers):
        host, port = s.address.split(":")
        peers.append((s, subprocess.Popen([program, host, port, str(SEED + n), str(SECONDS), str(id_of_cluster)],
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
    for s, peer in peers:
        said = peer.communicate(timeout=SECONDS + 60)[0]
        if peer.returncode != 0:
            raise Failure(f"{s} under attack: {said}")
        print(said.strip(), flush=True)
    if (ended := cluster.crashed()) or (ended := reports(cluster)):
        raise Failure("\n".join(ended[:5]))


def strangers(cluster):
    before = {s: state(s) for s in cluster.servers}
    lines = {s: log_lines(s) for s in cluster.servers}
    count = {s: counters(cluster, s) for s in cluster.servers}
    writer = Writer(1, os.path.join(cluster.mount(cluster.sites[0]), "written"))
    writer.start()
    wait_for("the writer to write", lambda: writer.count() > 5, 20)
    attack(cluster, 0)
    if not writer.stop() or writer.error:
        raise Failure(f"the writer: {writer.error or 'hangs'}")
    print(f"{writer.count()} fsyncs meanwhile, longest gap {writer.longest_gap():.2f} s", flush=True)
    for s in cluster.servers:
        now = counters(cluster, s)
        if now["bad_frames"] <= count[s]["bad_frames"] or now["refused"] <= count[s]["refused"]:
            raise Failure(f"{s} counts {now}, before it {count[s]}")
        more = log_lines(s) - lines[s]
        if not 0 < more <= LOG_LINES_MAX:
            raise Failure(f"{s} logged {more} lines about it:\n{s.log_tail(30)}")
        wait_for(f"{s} to let go of {state(s)[0] - before[s][0]} descriptors",
                 lambda: state(s)[0] <= before[s][0] + 3, 30)
    cluster.wait_healthy(30)
    for site in cluster.sites:
        if problems := check(os.path.join(cluster.mount(site), "written"), writer):
            raise Failure("\n".join(problems))


def mad_servers(cluster):
    before = {s: state(s)[1] for s in cluster.servers}
    lines = {s: log_lines(s) for s in cluster.servers}
    count = {s: counters(cluster, s)["frames_in"] for s in cluster.servers}
    attack(cluster, 1)
    for s in cluster.servers:
        if (taken := counters(cluster, s)["frames_in"] - count[s]) < 200 * SECONDS:
            raise Failure(f"{s} took {taken} messages only: this tests nothing")
        if (more := log_lines(s) - lines[s]) > LOG_LINES_MAX:
            raise Failure(f"{s} logged {more} lines about it:\n{s.log_tail(30)}")
        print(f"{s}: {before[s] >> 10} MiB, then {state(s)[1] >> 10} MiB", flush=True)
    time.sleep(1)


def test(cluster):
    cluster.start(60)
    cluster.wait_healthy(60)
    strangers(cluster)
    mad_servers(cluster)
    if killed := cluster.stop(60):  # what leaked is reported at the end
        raise Failure("do not stop any more: " + ", ".join(map(str, killed)))
    if found := reports(cluster):
        raise Failure("\n".join(found[:5]))
    print(f"{len(cluster.servers)} ports held")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], cores=1)))
