"""Writers that log what was acknowledged outside the cluster, and the checker that compares.

A record is one page: a header with writer, sequence number and slot, then bytes derived from them,
so that any mixture of two records or any foreign byte is seen.
"""

import mmap
import os
import struct
import threading
import time
import zlib

PAGE = 4096
HEADER = struct.Struct("<8sIQQI")
MAGIC = b"dcrecord"


def record(writer, seq, slot):
    body = (b"%08x%016x%08x" % (writer, seq, slot)) * (PAGE // 32 + 1)
    body = body[:PAGE - HEADER.size]
    return HEADER.pack(MAGIC, writer, seq, slot, zlib.crc32(body)) + body


def parse(page):
    """(writer, seq, slot), None for a page of zeros; ValueError for anything else."""
    if page == bytes(PAGE):
        return None
    magic, writer, seq, slot, crc = HEADER.unpack_from(page)
    if magic != MAGIC or zlib.crc32(page[HEADER.size:]) != crc or page != record(writer, seq, slot):
        raise ValueError("torn or foreign page")
    return writer, seq, slot


class Writer(threading.Thread):
    """Overwrites the slots of one file in turn, one fsync per record, until stopped.

    acked[slot] is the highest acknowledged sequence number there. gaps holds the time between
    completed fsyncs, so that the longest wait is known."""

    def __init__(self, number, path, slots=64, first=1):
        super().__init__(daemon=True)
        self.number, self.path, self.slots = number, path, slots
        self.seq = first
        self.acked, self.started = {}, {}
        self.times = []
        self.error = None
        self.stopping = threading.Event()

    def run(self):
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            self.times.append(time.monotonic())
            while not self.stopping.is_set():
                self.step(fd)
            os.close(fd)
        except OSError as e:
            self.error = e

    def step(self, fd):
        slot = self.seq % self.slots
        self.started[slot] = self.seq
        os.pwrite(fd, record(self.number, self.seq, slot), slot * PAGE)
        os.fsync(fd)
        self.acked[slot] = self.seq
        self.times.append(time.monotonic())
        self.seq += 1

    def stop(self):
        self.stopping.set()
        self.join(60)
        return not self.is_alive()

    def count(self):
        return len(self.times) - 1

    def longest_gap(self, since=0.0):
        """Longest time between two completed fsyncs that ended after `since`, the running one
        included."""
        times = self.times[:] + [time.monotonic()]
        return max((b - a for a, b in zip(times, times[1:]) if b > since), default=0.0)


def check(path, writer):
    """Problems of the file at `path` against what `writer` was promised: a list of sentences."""
    problems = []
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        return [f"{path}: {e}"]
    for slot in range(writer.slots):
        page = data[slot * PAGE:(slot + 1) * PAGE]
        page += bytes(PAGE - len(page))
        try:
            found = parse(page)
        except ValueError as e:
            problems.append(f"{path} page {slot}: {e}")
            continue
        acked, started = writer.acked.get(slot, 0), writer.started.get(slot, 0)
        seq = found[1] if found else 0
        if found and (found[0] != writer.number or found[2] != slot):
            problems.append(f"{path} page {slot}: belongs to writer {found[0]}, slot {found[2]}")
        elif seq < acked:
            problems.append(f"{path} page {slot}: has {seq}, but {acked} was acknowledged")
        elif seq > started:
            problems.append(f"{path} page {slot}: has {seq}, but only {started} was ever written")
    return problems


def map_file(path, size):
    with open(path, "r+b") as f:
        return mmap.mmap(f.fileno(), size)
