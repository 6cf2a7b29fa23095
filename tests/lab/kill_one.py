#!/usr/bin/env python3
"""Any single process killed at any moment, and any whole site: writers in a living site go on.

Issue promise P6: the longest gap between two completed fsyncs of a living site's writer stays
under 1 s whatever died; creates and renames go on within 3 s after the leading hint server died;
nothing acknowledged is lost or changed; what died comes back, catches up by itself and status says
healthy. KILLS sets how many times (default 50).

usage: kill_one.py BINDIR DIRECTORY
"""

import os
import random
import sys
import threading
import time

from cluster import Cluster, Failure, main_guard, wait_for
from workload import Writer, check

KILLS = int(os.environ.get("KILLS", "50"))
GAP_MAX = float(os.environ.get("GAP_MAX", "1.0"))
NAMES_MAX = float(os.environ.get("NAMES_MAX", "3.0"))
SEED = int(os.environ.get("SEED", "1"))


class Namer(threading.Thread):
    """Creates and renames files without end; remembers when each was done."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.directory, self.times, self.error = directory, [], None
        self.stopping = threading.Event()

    def run(self):
        os.makedirs(self.directory, exist_ok=True)
        n = 0
        self.times.append(time.monotonic())
        while not self.stopping.is_set():
            try:
                a, b = f"{self.directory}/new", f"{self.directory}/n{n % 50}"
                open(a, "w").close()
                os.rename(a, b)
                self.times.append(time.monotonic())
                n += 1
            except OSError as e:
                self.error = e
                return

    def longest_gap(self, since):
        times = self.times[:] + [time.monotonic()]
        return max((b - a for a, b in zip(times, times[1:]) if b > since), default=0.0)


def victims(cluster, rng, home):
    """What dies this time: a name and a list of servers. Never the writers' own access servers."""
    choice = rng.choice(["core", "core", "core here", "hint", "leader", "leader", "access", "site"])
    others = [s for s in cluster.sites if s != home]
    if choice == "core":
        return choice, [rng.choice([s for s in cluster.of("core") if s.site != home])]
    if choice == "core here":
        return choice, [rng.choice(cluster.of("core", home))]
    if choice == "hint":
        return choice, [rng.choice(cluster.of("hint"))]
    if choice == "leader":
        leader = wait_for("a leader", cluster.leader, 10)
        return choice, [leader]
    site = rng.choice(others)
    return choice, cluster.of("access" if choice == "access" else None, site)


def one_round(cluster, rng, home, writers, namer, round_number):
    name, servers = victims(cluster, rng, home)
    time.sleep(rng.random() * 0.3)  # any moment of whatever the servers are doing
    began = time.monotonic()
    for s in servers:
        s.kill()
    counts = [w.count() for w in writers]
    wait_for(f"writers to go on after {name} died",
             lambda: all(w.count() > c + 20 for w, c in zip(writers, counts)) or
             any(w.error for w in writers), 20)
    time.sleep(1.0)  # the load goes on for a while without it
    gap = max(w.longest_gap(began) for w in writers)
    names = namer.longest_gap(began)
    for s in servers:
        if s.kind == "access":
            os.system(f"umount -l {s.mount} 2>/dev/null")
        s.start()
    cluster.wait_mounted(30, {s.site for s in servers})
    cluster.wait_healthy(60)
    print(f"{round_number:3} {name:9} {', '.join(map(str, servers))}: longest fsync gap {gap:.3f} s, "
          f"names {names:.3f} s", flush=True)
    for w in writers:
        if w.error:
            raise Failure(f"a writer in {home} got {w.error} when {name} died")
    if namer.error:
        raise Failure(f"creating and renaming in {home} got {namer.error} when {name} died")
    if gap > GAP_MAX:
        raise Failure(f"{gap:.3f} s between two fsyncs when {name} died (limit {GAP_MAX} s)")
    if names > NAMES_MAX:
        raise Failure(f"{names:.3f} s without a rename when {name} died (limit {NAMES_MAX} s)")


def test(cluster):
    rng = random.Random(SEED)
    cluster.start()
    cluster.wait_healthy(30)
    home = cluster.sites[0]
    writers = [Writer(i + 1, f"{cluster.mount(home)}/w{i}") for i in range(2)]
    namer = Namer(f"{cluster.mount(home)}/names")
    for t in writers + [namer]:
        t.start()
    wait_for("the writers to begin", lambda: all(w.count() > 20 or w.error for w in writers), 20)
    for i in range(KILLS):
        one_round(cluster, rng, home, writers, namer, i + 1)
    namer.stopping.set()
    for w in writers:
        if not w.stop():
            raise Failure("a writer hangs")
    problems = []
    for site in cluster.sites:
        for i, w in enumerate(writers):
            problems += check(f"{cluster.mount(site)}/w{i}", w)
    if problems:
        raise Failure("; ".join(problems[:10]))
    print(f"{sum(w.count() for w in writers)} acknowledged fsyncs, each there in every site")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
