#!/usr/bin/env python3
"""Random calls on a few files through the mounts of two sites, one call at a time, each compared with a model in
memory (P3: what completed in one site is what the next call in any site sees).

Both mounts keep every file open all the time. A seed decides the calls; the last ones are printed when
one answers wrongly.

usage: posix_random.py BINDIR DIRECTORY [--seed N] [--calls N]
"""

import argparse
import collections
import mmap
import os
import random
import stat
import sys
import time

from cluster import Cluster, Failure, main_guard
from posix_calls import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate

FILES = 3
BYTES_MAX = 300_000
SHOWN = 40  # last calls
SEEDS = (1, 2, 3)  # of `make test`, with CALLS each and one drawn anew
CALLS = 700


class File:
    """One file: its name as both mounts know it, its content, a descriptor of each mount."""

    def __init__(self, run, name):
        self.run, self.name, self.content = run, name, bytearray()
        os.close(os.open(self.path(0), os.O_CREAT | os.O_EXCL | os.O_RDWR))
        self.fd = [os.open(self.path(m), os.O_RDWR) for m in (0, 1)]
        self.append_fd = [os.open(self.path(m), os.O_RDWR | os.O_APPEND) for m in (0, 1)]

    def path(self, mount):
        return os.path.join(self.run.mount[mount], self.name)

    def put(self, off, data):
        if off > len(self.content):
            self.content.extend(bytes(off - len(self.content)))
        self.content[off:off + len(data)] = data

    def resize(self, size):
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def close(self):
        for fd in self.fd + self.append_fd:
            os.close(fd)


class Run:
    def __init__(self, mounts, seed):
        self.random, self.seed = random.Random(seed), seed
        self.mount = [os.path.join(m, f"random{seed}") for m in mounts]
        os.mkdir(self.mount[0])
        self.history = collections.deque(maxlen=SHOWN)
        self.files = [File(self, f"f{n}") for n in range(FILES)]
        self.names = FILES
        self.calls = [getattr(self, n) for n in sorted(dir(self)) if n.startswith("do_")]

    def say(self, text):
        self.history.append(text)

    def wrong(self, what, got, want):
        raise Failure(f"seed {self.seed}: {what}: {got}, expected {want}; before it:\n  " +
                      "\n  ".join(self.history))

    def equal(self, what, got, want):
        if got != want:
            self.wrong(what, got, want)

    def same(self, what, got, want):
        """Contents: where they differ."""
        if got != want:
            at = next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), min(len(got), len(want)))
            self.wrong(what, f"{len(got)} bytes, {bytes(got[at:at + 8])!r} at {at}",
                       f"{len(want)} bytes, {bytes(want[at:at + 8])!r}")

    def range(self, f, beyond):
        off = self.random.randrange(len(f.content) + beyond + 1)
        return min(off, BYTES_MAX), self.random.choice((1, 100, 4096, 5000, 70_000))

    def data(self, length):
        return self.random.randbytes(length)

    def step(self):
        m, f = self.random.randrange(2), self.random.choice(self.files)
        call = self.random.choice(self.calls)
        self.what = f"{call.__name__[3:]} of {f.name} in site {m + 1}"
        call(m, f)

    # --- what changes ---

    def do_write(self, m, f):
        off, length = self.range(f, 9000)
        self.say(f"{self.what}: {off}+{length}, size {len(f.content)}")
        data = self.data(length)
        self.equal(self.what, os.pwrite(f.fd[m], data, off), length)
        f.put(off, data)

    def do_append(self, m, f):
        data = self.data(self.random.choice((1, 100, 5000)))
        self.say(f"{self.what}: {len(data)}, size {len(f.content)}")
        if len(f.content) > BYTES_MAX:
            return
        self.equal(self.what, os.write(f.append_fd[m], data), len(data))
        f.put(len(f.content), data)

    def do_truncate(self, m, f):
        size = self.random.choice((0, self.random.randrange(BYTES_MAX), len(f.content) // 2, len(f.content) + 1))
        self.say(f"{self.what}: to {size} from {len(f.content)}")
        if self.random.random() < 0.5:
            os.ftruncate(f.fd[m], size)
        else:
            os.truncate(f.path(m), size)
        f.resize(size)

    def do_fallocate(self, m, f):
        mode = self.random.choice((0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE, KEEP_SIZE | ZERO_RANGE))
        off, length = self.range(f, 9000)
        self.say(f"{self.what}: mode {mode}, {off}+{length}, size {len(f.content)}")
        fallocate(f.fd[m], mode, off, length)
        if not mode & KEEP_SIZE:
            f.resize(max(len(f.content), off + length))
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            end = min(off + length, len(f.content))
            if end > off:
                f.content[off:end] = bytes(end - off)

    def do_mmap_write(self, m, f):
        if not f.content:
            return
        off = self.random.randrange(len(f.content))
        data = self.data(min(self.random.choice((1, 5000)), len(f.content) - off))
        self.say(f"{self.what}: {off}+{len(data)}, size {len(f.content)}")
        with mmap.mmap(f.fd[m], len(f.content)) as mapped:
            mapped[off:off + len(data)] = data
        f.put(off, data)

    def do_copy(self, m, f):
        to = self.random.choice([g for g in self.files if g is not f])
        off, length = self.range(f, 0)
        at, _ = self.range(to, 100)
        self.say(f"{self.what}: {off}+{length} to {to.name} at {at}, sizes {len(f.content)}, {len(to.content)}")
        want = bytes(f.content[off:off + length])
        os.fstat(f.fd[m])  # the kernel cuts the copy at the size it knows, without asking
        n = os.copy_file_range(f.fd[m], to.fd[m], length, off, at)
        self.equal(self.what, n, len(want))
        if n:
            to.put(at, want)

    def do_rename(self, m, f):
        old, f.name = f.path(m), f"f{self.names}"
        self.names += 1
        self.say(f"{self.what}: to {f.name}")
        os.rename(old, f.path(m))

    def do_replace(self, m, f):
        """The last name goes while both have it open; another file takes its place."""
        if self.random.random() < 0.7:
            return
        self.say(self.what)
        os.unlink(f.path(m))
        self.equal(f"links after {self.what}", os.fstat(f.fd[1 - m]).st_nlink, 0)
        self.same(f"read after {self.what}", os.pread(f.fd[1 - m], BYTES_MAX * 2, 0), f.content)
        f.close()
        f.__init__(self, f.name)

    # --- what only looks ---

    def do_fstat(self, m, f):
        self.say(self.what)
        self.equal(self.what, os.fstat(f.fd[m]).st_size, len(f.content))

    def do_stat(self, m, f):
        self.say(self.what)
        st = os.stat(f.path(m))
        self.equal(self.what, (st.st_size, stat.S_ISREG(st.st_mode), st.st_nlink), (len(f.content), True, 1))

    def do_seek_end(self, m, f):
        self.say(self.what)
        self.equal(self.what, os.lseek(f.fd[m], 0, os.SEEK_END), len(f.content))

    def do_read(self, m, f):
        off, length = self.range(f, 100)
        self.say(f"{self.what}: {off}+{length}, size {len(f.content)}")
        self.same(self.what, os.pread(f.fd[m], length, off), f.content[off:off + length])

    def do_read_all(self, m, f):
        self.say(f"{self.what}: size {len(f.content)}")
        with open(f.path(m), "rb") as opened:
            self.same(self.what, opened.read(), f.content)

    def do_mmap_read(self, m, f):
        if not f.content:
            return
        self.say(f"{self.what}: size {len(f.content)}")
        with mmap.mmap(f.fd[m], len(f.content), prot=mmap.PROT_READ) as mapped:
            self.same(self.what, mapped[:], f.content)

    def do_sync(self, m, f):
        self.say(self.what)
        os.fsync(f.fd[m])

    def do_nothing(self, m, f):
        """Leases end, caches time out, kernels write back."""
        if self.random.random() < 0.1:
            self.say("a pause")
            time.sleep(self.random.choice((0.01, 0.3, 0.7)))

    def end(self):
        for m in (0, 1):
            for f in self.files:
                self.do_read_all(m, f)
        for f in self.files:
            f.close()


def one_seed(mounts, seed, calls):
    run = Run(mounts, seed)
    for n in range(calls):
        try:
            run.step()
        except OSError as e:
            run.wrong(f"call {n}, {run.what}", e, "no error")
    run.what = "read at the end"
    run.end()


def test(cluster):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--calls", type=int, default=CALLS)
    options = parser.parse_args(sys.argv[3:])
    seeds = [options.seed] if options.seed is not None else [*SEEDS, random.SystemRandom().randrange(10**9)]
    cluster.start()
    mounts = [cluster.mount(s) for s in cluster.sites[:2]]
    children = {}
    for seed in seeds:  # at the same time: the machine shall be busy
        pid = os.fork()
        if pid == 0:
            try:
                one_seed(mounts, seed, options.calls)
            except Failure as e:
                print(e, flush=True)
                os._exit(1)
            except BaseException as e:
                print(f"seed {seed}: {e!r}", flush=True)
                os._exit(2)
            os._exit(0)
        children[pid] = seed
    failed = []
    while children:
        pid, status = os.wait()
        seed = children.pop(pid, None)
        if seed is not None and status:
            failed.append(seed)
    if failed:
        raise Failure(f"seeds {failed}: see above; again with --seed N --calls {options.calls}")
    print(f"{len(seeds)} times {options.calls} calls right in two sites; seeds {seeds}")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
