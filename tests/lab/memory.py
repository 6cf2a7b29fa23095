#!/usr/bin/env python3
"""Memory within bounds (P8): an access server under full load while a site is dead, a core server with
very sparse files.

1. Writers of large files, of single pages with O_DIRECT and of many small files, and readers, on one mount,
   while another site is dead: the access server stays below its limit, nobody gets an error.
2. One page in every block of TiB of sparse files: the core servers stay below theirs, also when they
   start again and replay all of it.

usage: memory.py BINDIR DIRECTORY
SECONDS (default 12; `make soak` takes 600) of load, TIB (default 1) of sparse files.
"""

import mmap
import os
import sys
import threading
import time

from cluster import Cluster, Failure, main_guard

MIB = 1 << 20
SECONDS = float(os.environ.get("SECONDS", "12"))
TIB = float(os.environ.get("TIB", "1"))
ACCESS_MIB = 512   # the default of `memory`
CORE_MIB = 1024    # for 1 TiB
BLOCK = 4 * MIB
FILE = 64 << 30


def memory(server):
    """Peak of the process' own memory, in MiB: without what it maps of files, which the kernel may drop."""
    with open(f"/proc/{server.pid()}/status") as f:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in f if line.startswith(("Rss", "VmHWM"))}
    return kib["RssAnon"] / 1024, kib["VmHWM"] / 1024


class Load(threading.Thread):
    def __init__(self, step, path):
        super().__init__(daemon=True)
        self.step, self.path, self.error, self.rounds, self.stopping = step, path, None, 0, False

    def run(self):
        try:
            while not self.stopping:
                self.step(self)
                self.rounds += 1
        except OSError as e:
            self.error = e


def large(load):
    """A file of 256 MiB, without fsync."""
    with open(load.path, "wb", buffering=0) as f:
        for _ in range(64):
            if load.stopping:
                return
            f.write(large.data)


large.data = os.urandom(4 * MIB)


def single_pages(load):
    fd = os.open(load.path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    for n in range(2000):
        if load.stopping:
            break
        os.pwrite(fd, page, (n * 7919 % 65536) * 4096)
    os.close(fd)


def small_files(load):
    os.makedirs(load.path, exist_ok=True)
    directory = os.path.join(load.path, str(load.rounds))
    os.mkdir(directory)
    for n in range(500):
        if load.stopping:
            return
        with open(os.path.join(directory, str(n)), "wb") as f:
            f.write(b"x" * 4096)


def names(load):
    for _, _, files in os.walk(os.path.dirname(load.path)):
        if load.stopping:
            return
        len(files)


def reader(load):
    try:
        with open(load.path, "rb", buffering=0) as f:
            while not load.stopping and f.read(MIB):
                pass
    except FileNotFoundError:
        time.sleep(0.1)


def access_under_load(cluster):
    here, dead = cluster.sites[0], cluster.sites[2]
    mount, server = cluster.mount(here), cluster.of("access", here)[0]
    for s in cluster.of(site=dead):
        s.kill()
    loads = [Load(large, f"{mount}/large{n}") for n in range(3)]
    loads += [Load(single_pages, f"{mount}/pages{n}") for n in range(2)]
    loads += [Load(small_files, f"{mount}/small{n}") for n in range(2)]
    loads += [Load(reader, f"{mount}/large0"), Load(names, f"{mount}/names")]
    for load in loads:
        load.start()
    until, most = time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        time.sleep(0.2)
        most = max(most, memory(server)[0])
        if errors := [f"{load.path}: {load.error}" for load in loads if load.error]:
            raise Failure("; ".join(errors))
    for load in loads:
        load.stopping = True
    for load in loads:
        load.join(120)
        if load.is_alive() or load.error:
            raise Failure(f"{load.path}: {load.error or 'hangs'}")
    peak = memory(server)[1]
    print(f"{server}: {most:.0f} MiB of its own, {peak:.0f} MiB at the peak, after {SECONDS:.0f} s of load with "
          f"{dead} dead", flush=True)
    if peak > ACCESS_MIB:
        raise Failure(f"{server} took {peak:.0f} MiB of {ACCESS_MIB}")
    for s in cluster.of(site=dead):
        s.start()
    cluster.wait_mounted(60)
    cluster.wait_healthy(300)


def sparse(cluster):
    mount = cluster.mount(cluster.sites[0])
    files = max(int(TIB * (1 << 40)) // FILE, 1)
    errors = []

    def fill(n):
        try:
            fd = os.open(f"{mount}/sparse{n}", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
            page = mmap.mmap(-1, 4096)
            page[:] = bytes([n + 1]) * 4096
            os.ftruncate(fd, FILE)
            for block in range(FILE // BLOCK):
                os.pwrite(fd, page, block * BLOCK + block % 1024 * 4096)
            os.fsync(fd)
            os.close(fd)
        except OSError as e:
            errors.append(e)

    for first in range(0, files, 4):
        threads = [threading.Thread(target=fill, args=(n,)) for n in range(first, min(first + 4, files))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    if errors:
        raise Failure(f"sparse files: {errors[0]}")
    cores = cluster.of("core")
    said = {s: memory(s) for s in cores}
    for s in cores:
        s.kill()
    for s in cores:
        s.start()
    cluster.wait_healthy(300)
    again = {s: memory(s) for s in cores}
    limit = CORE_MIB * min(0.5 + TIB / 2, 1)
    for s in cores:
        print(f"{s}: {said[s][0]:.0f} MiB of its own, {said[s][1]:.0f} MiB at the peak with {TIB} TiB; started "
              f"again: {again[s][0]:.0f}, {again[s][1]:.0f} MiB", flush=True)
        if max(said[s][1], again[s][1]) > limit:
            raise Failure(f"{s} took {max(said[s][1], again[s][1]):.0f} MiB of {limit:.0f}")
    for n in range(files):
        with open(f"{mount}/sparse{n}", "rb", buffering=0) as f:
            for block in (0, 1000, FILE // BLOCK - 1):
                f.seek(block * BLOCK + block % 1024 * 4096)
                if f.read(4096) != bytes([n + 1]) * 4096:
                    raise Failure(f"sparse{n} block {block} is not what was written")


def test(cluster):
    cluster.start()
    access_under_load(cluster)
    sparse(cluster)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], cores=1)))
