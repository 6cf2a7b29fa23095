#!/usr/bin/env python3
"""A file grows in one site and is read in another as it does (P3): read(2) never meets an end of file below what was
acknowledged before it began.

The kernel keeps a size of its own and goes by it. It asks for the attributes, but takes no size from an answer
if it was told meanwhile to forget what it knows of the file, as each change of hands of a lease has it
told. So besides the reads themselves the kernel's size is looked at behind each fstat(2), which is where it shows
most often: that size must be what fstat(2) was told.

The sites are 10 ms apart: where an answer takes no time, no invalidation comes before it.

usage: size_seen.py BINDIR DIRECTORY
"""

import ctypes
import mmap
import os
import struct
import sys
import threading
import time

from cluster import Failure, wait_for
from drill import guard, net, topology
from drill.servers import NetCluster
from workload import PAGE

TRIANGLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drill", "topologies", "triangle.conf")
FILES = 6           # grow at the same time
PAGES = 60
AT_EMPTY_PATH, AT_STATX_DONT_SYNC, STATX_SIZE, SIZE_AT = 0x1000, 0x4000, 0x200, 40
LIBC = ctypes.CDLL(None, use_errno=True)


def kernel_size(fd):
    """The size that the kernel goes by; nobody is asked for it."""
    answer = ctypes.create_string_buffer(256)
    if LIBC.statx(fd, b"", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, answer) != 0:
        raise OSError(ctypes.get_errno(), "statx")
    return struct.unpack_from("=Q", answer, SIZE_AT)[0]


class Growing:
    """One file: a thread appends to it in one site and syncs each page, another reads it in the other site."""

    def __init__(self, there, here, name, flags):
        self.there, self.here, self.flags = f"{there}/{name}", f"{here}/{name}", flags
        self.acknowledged = self.reads = self.early = self.older = 0
        self.error = None
        self.threads = [threading.Thread(target=self.guarded, args=(what,)) for what in (self.grow, self.follow)]

    def guarded(self, what):
        try:
            what()
        except Exception as e:  # shown by whoever joins
            self.error = e

    def grow(self):
        fd = os.open(self.there, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        for page in range(PAGES):
            if os.pwrite(fd, bytes([page % 255 + 1]) * PAGE, page * PAGE) != PAGE:
                raise Failure("a part was written")
            os.fsync(fd)
            self.acknowledged = page + 1
        os.close(fd)

    def follow(self):
        wait_for(f"{self.there} to have some pages", lambda: self.acknowledged > 5, 30, 0.001)
        fd = os.open(self.here, os.O_RDONLY | self.flags)
        buffer, page = mmap.mmap(-1, PAGE), 0
        end = time.monotonic() + 60
        while page < PAGES:
            there = self.acknowledged
            n = os.preadv(fd, [buffer], page * PAGE)
            self.reads += 1
            self.early += n < PAGE and page < there
            told = os.fstat(fd).st_size
            self.older += kernel_size(fd) < told
            page += n == PAGE
            if time.monotonic() > end:
                raise Failure(f"{self.here}: at page {page} of {PAGES} after a minute")
        os.close(fd)


def grow_and_follow(there, here, what, flags):
    files = [Growing(there, here, f"{what}-{i}", flags) for i in range(FILES)]
    threads = [t for f in files for t in f.threads]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for f in files:
        if f.error:
            raise f.error
    reads, early, older = (sum(getattr(f, k) for f in files) for k in ("reads", "early", "older"))
    print(f"{what}: {reads} reads, {early} ended below what was acknowledged; the kernel went by an older size than "
          f"it was told {older} times", flush=True)
    # One can slip in between the answer and the invalidation behind it.
    if early or older > reads // 100:
        raise Failure("a site goes by an older size of a file that grows in another one")


def test(bindir, root):
    with net.Network(topology.load(TRIANGLE), os.path.join(root, "net"), bindir) as n:
        n.wait_converged(60)
        cluster = NetCluster(n)
        try:
            cluster.start(60)
            there, here = (cluster.mount(site) for site in cluster.sites[:2])
            grow_and_follow(there, here, "buffered", 0)
            grow_and_follow(there, here, "O_DIRECT", os.O_DIRECT)
        finally:
            cluster.remove()


if __name__ == "__main__":
    sys.exit(guard.main(test))
