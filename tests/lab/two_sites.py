#!/usr/bin/env python3
"""Two sites append to, overwrite and read the same files at the same time (P3).

Nothing stale, no torn page, appends neither lost nor overlapped; buffered I/O, O_DIRECT and mmap
mixed. SECONDS sets how long (default 20).

usage: two_sites.py BINDIR DIRECTORY
"""

import fcntl
import mmap
import os
import sys
import threading
import time

from cluster import Cluster, Failure, main_guard
from workload import PAGE, parse, record

SECONDS = float(os.environ.get("SECONDS", "20"))


class Worker(threading.Thread):
    def __init__(self, step):
        super().__init__(daemon=True)
        self.step_once, self.stopping, self.error, self.steps = step, threading.Event(), None, 0

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step_once()
                self.steps += 1
        except Exception as e:  # any failure of the worker fails the test
            self.error = e


def run_workers(what, workers, seconds):
    for w in workers:
        w.start()
    time.sleep(seconds)
    for w in workers:
        w.stopping.set()
    for w in workers:
        w.join(60)
        if w.is_alive():
            raise Failure(f"{what}: a worker hangs")
        if w.error:
            raise Failure(f"{what}: {w.error!r}")
    if min(w.steps for w in workers) == 0:
        raise Failure(f"{what}: a worker made no step at all")
    print(f"{what}: {[w.steps for w in workers]} steps", flush=True)


def appends(cluster, seconds):
    """O_APPEND from two sites: every line once, whole, in each writer's order."""
    counts = {}

    def appender(n, site):
        fd = os.open(f"{cluster.mount(site)}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        counts[n] = 0

        def step():
            line = f"{n} {counts[n]} {'x' * (counts[n] % 300)}\n".encode()
            if os.write(fd, line) != len(line):
                raise Failure("short append")
            counts[n] += 1
        return Worker(step)
    workers = [appender(n, s) for n, s in enumerate(cluster.sites[:2])]
    run_workers("appends", workers, seconds)
    for site in cluster.sites:
        seen = {0: 0, 1: 0}
        with open(f"{cluster.mount(site)}/log", "rb") as f:
            for line in f.read().decode().splitlines():
                n, i, fill = (line + " ").split(" ")[:3]
                n, i = int(n), int(i)
                if i != seen[n] or fill != "x" * (i % 300):
                    raise Failure(f"append {i} of {n} in {site}: expected {seen[n]}, whole")
                seen[n] += 1
        if seen != counts:
            raise Failure(f"{site} sees {seen} appends, {counts} were made")


def overwrites(cluster, seconds):
    """Two sites overwrite the same pages under an fcntl lock and read what the other one wrote."""
    pages, truth, guard = 16, {}, threading.Lock()
    with open(f"{cluster.mount(cluster.sites[0])}/shared", "wb") as f:
        f.write(b"".join(record(9, 0, i) for i in range(pages)))
        for i in range(pages):
            truth[i] = (9, 0, i)

    def worker(n, site, flags):
        fd = os.open(f"{cluster.mount(site)}/shared", os.O_RDWR | flags)
        buf = mmap.mmap(-1, PAGE)  # page-aligned, as O_DIRECT wants it
        state = {"seq": 1}

        def step():
            slot = (state["seq"] * 7 + n) % pages
            fcntl.lockf(fd, fcntl.LOCK_EX, 1, slot)
            try:
                os.preadv(fd, [buf], slot * PAGE)
                found = parse(bytes(buf))
                with guard:
                    if found != truth[slot]:
                        raise Failure(f"{site} reads {found} in page {slot}, last written: {truth[slot]}")
                buf[:] = record(n, state["seq"], slot)
                os.pwritev(fd, [buf], slot * PAGE)
                with guard:
                    truth[slot] = (n, state["seq"], slot)
                state["seq"] += 1
            finally:
                fcntl.lockf(fd, fcntl.LOCK_UN, 1, slot)
        return Worker(step)
    workers = [worker(1, cluster.sites[0], 0), worker(2, cluster.sites[1], os.O_DIRECT)]
    run_workers("overwrites under locks, buffered and O_DIRECT", workers, seconds)
    for site in cluster.sites:
        with open(f"{cluster.mount(site)}/shared", "rb") as f:
            data = f.read()
        for i in range(pages):
            if parse(data[i * PAGE:(i + 1) * PAGE]) != truth[i]:
                raise Failure(f"{site} ends with another page {i} than was written last")


def readers(cluster, seconds):
    """One site overwrites a page with growing numbers; readers elsewhere never see them fall, never
    a torn page, and a number told to them outside the cluster is there at once."""
    path = "counter"
    with open(f"{cluster.mount(cluster.sites[0])}/{path}", "wb") as f:
        f.write(record(1, 0, 0))
    told = {"seq": 0}

    def writer(site):
        fd = os.open(f"{cluster.mount(site)}/{path}", os.O_RDWR)
        state = {"seq": 1}

        def step():
            os.pwrite(fd, record(1, state["seq"], 0), 0)
            told["seq"] = state["seq"]
            state["seq"] += 1
            time.sleep(0.002)
        return Worker(step)

    def reader(site, how):
        fd = os.open(f"{cluster.mount(site)}/{path}", os.O_RDWR)
        view = mmap.mmap(fd, PAGE) if how == "mmap" else None
        last = {"seq": 0}

        def step():
            # a mapping may serve a page until the invalidation reaches it: read() first
            before = told["seq"]
            page = os.pread(fd, PAGE, 0)
            seq = parse(page)[1]
            if seq < before or seq < last["seq"]:
                raise Failure(f"{site} reads {seq} after {before} was written, {last['seq']} read")
            if view is not None:
                parse(view[:])
            last["seq"] = seq
        return Worker(step)
    run_workers("one writer, readers elsewhere", [
        writer(cluster.sites[0]), reader(cluster.sites[1], "read"),
        reader(cluster.sites[2], "mmap")], seconds)


def names(cluster, seconds):
    """A name made, replaced or removed in one site is so at once in the others."""
    a, b = cluster.mount(cluster.sites[0]), cluster.mount(cluster.sites[1])
    state = {"n": 0}

    def step():
        n = state["n"] = state["n"] + 1
        with open(f"{a}/next", "w") as f:
            f.write(str(n))
        os.rename(f"{a}/next", f"{a}/live")
        with open(f"{b}/live") as f:
            if f.read() != str(n):
                raise Failure("the other site opens the old file after a rename was acknowledged")
        os.unlink(f"{b}/live")
        if os.path.exists(f"{a}/live"):
            raise Failure("a removed name is still there in the other site")
    run_workers("names", [Worker(step)], seconds)


def test(cluster):
    cluster.start()
    for part in (appends, overwrites, readers, names):
        part(cluster, SECONDS / 4)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
