#!/usr/bin/env python3
"""Every process of every site killed at once, under load, again and again (P1, P4).

After each restart every fsynced record is there, in all sites, and no page is torn or foreign.
ROUNDS sets how many times (default 20).

usage: kill_all.py BINDIR DIRECTORY
"""

import os
import random
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for
from workload import Writer, check

ROUNDS = int(os.environ.get("ROUNDS", "20"))
SEED = int(os.environ.get("SEED", "1"))


def check_everywhere(cluster, writers):
    problems = []
    for site in cluster.sites:
        for w in writers:
            problems += check(f"{cluster.mount(site)}/{os.path.basename(w.path)}", w)
    if problems:
        raise Failure(f"{len(problems)} problems: " + "; ".join(problems[:10]))


def test(cluster):
    rng = random.Random(SEED)
    cluster.start()
    known = {}
    total = 0
    for i in range(ROUNDS):
        writers = []
        for n, site in enumerate(cluster.sites):
            path = f"{cluster.mount(site)}/all{n}"
            w = Writer(n + 1, path, first=known[n].seq if n in known else 1)
            if n in known:
                w.acked, w.started = known[n].acked, known[n].started
            writers.append(w)
            w.start()
        wait_for("the writers to begin", lambda: all(w.count() > 10 or w.error for w in writers), 60)
        time.sleep(rng.random())
        cluster.kill_all()
        for n, w in enumerate(writers):
            if not w.stop():
                raise Failure("a writer hangs though its file system is gone")
            known[n] = w
            w.seq += 1  # the record under way may be there or not; its number is used up
            total += w.count()
        cluster.start()
        check_everywhere(cluster, writers)
        print(f"{i + 1:3}: {sum(w.count() for w in writers)} fsyncs before the cut, all there", flush=True)
    cluster.wait_healthy(60)
    print(f"{total} acknowledged fsyncs over {ROUNDS} cuts of everything")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
