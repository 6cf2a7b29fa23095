#!/usr/bin/env python3
"""One worker of a drill: a process that uses the mount of its site as a program would, and logs what it was told.

usage: worker.py SPEC       a JSON object; ends in good order when its standard input ends

{"kind": "writer" | "reader" | "creator" | "collector" | "preparer" | "verifier", "log": PATH, ...}: see the classes.
An error is logged, the file opened again, and the work goes on."""

import contextlib
import errno
import json
import mmap
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
from drill import oplog  # noqa: E402
from workload import PAGE, parse, record  # noqa: E402

AGAIN_SECONDS = 0.2     # after an error
AT_ONCE = 16            # files that are read at the same time
BAD_CONTENT = 1000      # an error of our own: what was read was written by nobody


class Worker:
    """log: where; path: the file or directory; every: seconds from one operation to the next, 0: at once;
    outside: the device below the mount point, which shows when the mount is gone."""

    def __init__(self, spec):
        self.spec, self.path, self.every = spec, spec["path"], spec.get("every", 0)
        self.log, self.stopping = oplog.Log(spec["log"]), threading.Event()

    def run(self):
        while not self.stopping.is_set():
            begin = time.monotonic()
            try:
                self.session()
            except OSError as e:
                self.log.add(oplog.ERROR, begin, time.monotonic(), code=e.errno or errno.EIO)
                self.stopping.wait(AGAIN_SECONDS)

    @contextlib.contextmanager
    def opened(self, path, flags):
        fd = os.open(path, flags, 0o644)
        try:
            self.expect_mounted(os.fstat(fd))
            yield fd
        except BaseException:
            with contextlib.suppress(OSError):      # of a lost handle it says the same error again
                os.close(fd)
            raise
        os.close(fd)

    def expect_mounted(self, st):
        if st.st_dev == self.spec["outside"]:
            raise OSError(errno.ENOTCONN, "not mounted")

    def paces(self):
        """Yields until the worker is to stop; the time between two is `every`, if the work is as fast."""
        due = time.monotonic()
        while not self.stopping.is_set():
            yield
            due = max(due + self.every, time.monotonic()) if self.every else due
            if self.every:
                self.stopping.wait(due - time.monotonic())


class Writer(Worker):
    """Overwrites the slots of a file in turn, with an fsync after each `sync` writes.

    number: its own; slots; pages: a slot's size; sync"""

    def __init__(self, spec):
        super().__init__(spec)
        self.seq = 0

    def session(self):
        number, slots, pages = (self.spec[k] for k in ("number", "slots", "pages"))
        with self.opened(self.path, os.O_RDWR | os.O_CREAT) as fd:
            pending, first = 0, time.monotonic()
            for _ in self.paces():
                self.seq += 1
                slot = self.seq % slots
                data = b"".join(record(number, self.seq, slot * pages + i) for i in range(pages))
                begin = time.monotonic()
                first = first if pending else begin
                self.log.add(oplog.START, begin, begin, slot, self.seq, len(data), number)
                if os.pwrite(fd, data, slot * len(data)) != len(data):
                    raise OSError(errno.EIO, "a part was written")
                pending += 1
                if pending == self.spec["sync"]:
                    os.fsync(fd)
                    self.log.add(oplog.DONE, first, time.monotonic(), slot, self.seq, pending * len(data), number)
                    pending = 0


class Reader(Worker):
    """Reads the slots of a file in turn, past the kernel's cache unless cached.

    slots; pages; cached; after: the log of who makes the file, which has something in it when it is made"""

    def run(self):
        while not (os.path.exists(self.spec["after"]) and os.path.getsize(self.spec["after"])):
            if self.stopping.wait(0.01):
                return
        super().run()

    def session(self):
        size = self.spec["pages"] * PAGE
        flags = os.O_RDONLY | (0 if self.spec["cached"] else os.O_DIRECT)
        with self.opened(self.path, flags) as fd, mmap.mmap(-1, size) as buffer:
            slot = 0
            for _ in self.paces():
                begin = time.monotonic()
                n = os.preadv(fd, [buffer], slot * size)
                end = time.monotonic()
                writer, seq, bad = self.found(buffer, n, slot)
                self.log.add(oplog.ERROR if bad else oplog.DONE, begin, end, slot, seq, n, writer, bad)
                slot = (slot + 1) % self.spec["slots"]

    def found(self, buffer, n, slot):
        """(writer, seq) of the page with the lowest seq, and an error code if one is none of this slot."""
        writer, lowest = 0, None
        for i in range(self.spec["pages"]):
            page = bytes(buffer[i * PAGE:(i + 1) * PAGE]) if (i + 1) * PAGE <= n else bytes(PAGE)
            try:
                found = parse(page) or (0, 0, slot * self.spec["pages"] + i)
            except ValueError:
                return 0, 0, BAD_CONTENT
            if found[2] != slot * self.spec["pages"] + i:
                return found[0], found[1], BAD_CONTENT
            if lowest is None or found[1] < lowest:
                writer, lowest = found[0], found[1]
        return writer, lowest, 0


class Creator(Worker):
    """Creates files path/1, path/2, ... of a record each, closed, and with an fsync before if sync.

    number; sync"""

    def __init__(self, spec):
        super().__init__(spec)
        self.seq = 0

    def session(self):
        os.makedirs(self.path, exist_ok=True)
        self.expect_mounted(os.stat(self.path))
        for _ in self.paces():
            self.seq += 1
            begin = time.monotonic()
            self.log.add(oplog.START, begin, begin, 0, self.seq, PAGE, self.spec["number"])
            with self.opened(os.path.join(self.path, str(self.seq)), os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                os.write(fd, record(self.spec["number"], self.seq, 0))
                if self.spec["sync"]:
                    os.fsync(fd)
            self.log.add(oplog.DONE, begin, time.monotonic(), 0, self.seq, PAGE, self.spec["number"])


class Collector(Worker):
    """Reads once, in one site, all files that a creator elsewhere was told are there, when it starts.

    of: the creator's log; number: the creator's; since: those made from then on"""

    def run(self):
        made = [op for op in oplog.read(self.spec["of"]) if op.kind == oplog.DONE and op.end >= self.spec["since"]]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.collect, made))

    def collect(self, op):
        begin = time.monotonic()
        try:
            with self.opened(os.path.join(self.path, str(op.seq)), os.O_RDONLY) as fd:
                same = os.read(fd, PAGE + 1) == record(self.spec["number"], op.seq, 0)
            code = 0 if same else BAD_CONTENT
        except OSError as e:
            code = e.errno
        self.log.add(oplog.ERROR if code else oplog.DONE, begin, time.monotonic(), 0, op.seq, PAGE,
                     self.spec["number"], code)


class Preparer(Worker):
    """Writes each slot of a file once, with one fsync at the end: what readers read.

    number, slots, pages"""

    def run(self):
        number, slots, pages = (self.spec[k] for k in ("number", "slots", "pages"))
        begin = time.monotonic()
        with self.opened(self.path, os.O_RDWR | os.O_CREAT) as fd:
            for slot in range(slots):
                data = b"".join(record(number, slot + 1, slot * pages + i) for i in range(pages))
                self.log.add(oplog.START, begin, begin, slot, slot + 1, len(data), number)
                os.pwrite(fd, data, slot * len(data))
            os.fsync(fd)
        self.log.add(oplog.DONE, begin, time.monotonic(), slots - 1, slots, slots * pages * PAGE, number)


class Verifier(Worker):
    """What one site's mount has at the end: a DONE for each page, an ERROR where there is none as it should be.

    names: of the files in the directory `path`, each of one page, the name is its slot; null: the pages of a file"""

    def run(self):
        if self.spec["names"] is None:
            self.verify(self.path, None)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: self.verify(os.path.join(self.path, str(name)), name),
                          self.spec["names"] or []))

    def verify(self, path, name):
        begin, at = time.monotonic(), 0
        try:
            with self.opened(path, os.O_RDONLY) as fd:
                page = os.read(fd, PAGE)
                while page or at == 0:
                    self.page(page, at, at if name is None else name, begin)
                    page, at = os.read(fd, PAGE), at + 1
        except OSError as e:
            self.log.add(oplog.ERROR, begin, time.monotonic(), name or at, code=e.errno)

    def page(self, page, at, slot, begin):
        try:
            found = parse(page + bytes(PAGE - len(page))) or (0, 0, at)
            code = 0 if found[2] == at else BAD_CONTENT
        except ValueError:
            found, code = (0, 0, 0), BAD_CONTENT
        self.log.add(oplog.ERROR if code else oplog.DONE, begin, time.monotonic(), slot, found[1], PAGE, found[0],
                     code)


def main():
    spec = json.loads(sys.argv[1])
    worker = globals()[spec["kind"].capitalize()](spec)

    def wait_end():
        while os.read(0, PAGE):
            pass
        worker.stopping.set()
    threading.Thread(target=wait_end, daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main()
