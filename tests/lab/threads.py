#!/usr/bin/env python3
"""The real servers, built with ThreadSanitizer, under load: no data race.

All at once for SECONDS (default 10): what two_sites does with two and three mounts, writers that fsync
each record, stores through a mapping, directories listed while they change; a core server is killed
and started again meanwhile. Then everything is compared and stopped. What the sanitizer reports goes
to the servers' logs: one report fails.

usage: threads.py BINDIR DIRECTORY, of a build with -DDC_SANITIZE=thread
"""

import os
import sys
import threading
import time

import two_sites
from cluster import Cluster, Failure, PROGRAM, main_guard
from workload import PAGE, Writer, check, map_file, parse, record

SECONDS = float(os.environ.get("SECONDS", "10"))
START = 90  # the sanitizer makes everything some ten times slower
STOP = 60
REPORT = "WARNING: ThreadSanitizer"


def mappings(cluster, seconds):
    """Each of two sites stores to pages of its own in one file through a mapping."""
    pages = 8
    path = [f"{cluster.mount(site)}/mapped" for site in cluster.sites[:2]]
    with open(path[0], "wb") as f:
        f.truncate(2 * pages * PAGE)
    last = {}

    def worker(n):
        view = map_file(path[n], 2 * pages * PAGE)
        state = {"seq": 1}

        def step():
            slot = n * pages + state["seq"] % pages
            view[slot * PAGE:(slot + 1) * PAGE] = record(n, state["seq"], slot)
            view.flush(slot * PAGE, PAGE)
            last[slot] = (n, state["seq"], slot)
            state["seq"] += 1
        return two_sites.Worker(step)
    two_sites.run_workers("mappings", [worker(0), worker(1)], seconds)
    with open(path[0], "rb") as f:
        data = f.read()
    for slot, what in last.items():
        if parse(data[slot * PAGE:(slot + 1) * PAGE]) != what:
            raise Failure(f"page {slot} of a mapping is not what was stored there last")


def listings(cluster, seconds):
    """One site makes, renames and removes files in a directory that another one lists."""
    here, there = (f"{cluster.mount(site)}/listed" for site in cluster.sites[:2])
    os.mkdir(here)
    state = {"n": 0}

    def change():
        n = state["n"] = state["n"] + 1
        with open(f"{here}/new{n}", "w"):
            pass
        os.rename(f"{here}/new{n}", f"{here}/kept{n % 40}")
        if n % 5 == 0:
            os.unlink(f"{here}/kept{n % 40}")

    def look():
        for entry in os.scandir(there):
            try:
                entry.stat()
            except FileNotFoundError:
                pass
    two_sites.run_workers("listings", [two_sites.Worker(change), two_sites.Worker(look)], seconds)
    if sorted(os.listdir(here)) != sorted(os.listdir(there)):
        raise Failure("two sites list different names at the end")


def syncs(cluster, seconds):
    """Writers with an fsync for each record, on two mounts; read back in the third site."""
    writers = [Writer(n, f"{cluster.mount(cluster.sites[n % 2])}/synced{n}") for n in range(4)]
    for w in writers:
        w.start()
    time.sleep(seconds)
    for w in writers:
        if not w.stop() or w.error:
            raise Failure(f"synced{w.number}: {w.error or 'its writer hangs'}")
        problems = check(f"{cluster.mount(cluster.sites[2])}/synced{w.number}", w)
        if problems or not w.count():
            raise Failure(f"synced{w.number}, {w.count()} records: {problems}")
    print(f"syncs: {[w.count() for w in writers]} records", flush=True)


def kill_and_restart(cluster, seconds):
    server = cluster.of("core", cluster.sites[1])[0]
    time.sleep(seconds / 3)
    server.kill()
    time.sleep(seconds / 5)
    server.start()


PARTS = [two_sites.appends, two_sites.overwrites, two_sites.readers, two_sites.names,
         mappings, listings, syncs, kill_and_restart]


def run_parts(cluster, seconds):
    errors = []

    def run(part):
        try:
            part(cluster, seconds)
        except Exception as e:  # any failure of a part fails the test
            errors.append(f"{part.__name__}: {e!r}")
    threads = [threading.Thread(target=run, args=(part,)) for part in PARTS]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise Failure("; ".join(errors))


def require_sanitizer(cluster):
    for name in PROGRAM.values():
        with open(os.path.join(cluster.bindir, name), "rb") as f:
            if b"__tsan_init" not in f.read():
                raise Failure(f"{name} in {cluster.bindir} is not built with -DDC_SANITIZE=thread")


def check_logs(cluster):
    for s in cluster.servers:
        with open(s.base + ".log", errors="replace") as f:
            text = f.read()
        if REPORT in text:
            reports = text.count(REPORT)
            first = text[text.index(REPORT):][:6000]
            raise Failure(f"{s}: {reports} data races; the first in {s.base}.log:\n{first}")


def test(cluster):
    require_sanitizer(cluster)
    cluster.start(START)
    cluster.wait_healthy(START)
    try:
        run_parts(cluster, SECONDS)
        killed = cluster.stop(STOP)
        if killed:
            raise Failure(f"did not end by themselves: {', '.join(map(str, killed))}")
    finally:
        check_logs(cluster)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], cores=1)))
