"""A line every few seconds about how the workers of a drill get on."""

import os
import time

from . import oplog

EVERY = 5.0


class Progress:
    def __init__(self, logs):
        """logs: {worker: path}"""
        self.logs = logs
        self.offsets = {name: os.path.getsize(path) if os.path.exists(path) else 0 for name, path in logs.items()}
        self.began, self.due = time.monotonic(), time.monotonic() + EVERY

    def line(self):
        """What they did since the last one; empty while it is not yet time for one."""
        now = time.monotonic()
        if now < self.due:
            return ""
        said = []
        for name, path in self.logs.items():
            done, failed = self.count(name, path)
            said.append(f"{name} {done / (now - self.began):.0f}/s" + (f", {failed} errors" if failed else ""))
        self.began, self.due = now, now + EVERY
        return "; ".join(said)

    def count(self, name, path):
        if not os.path.exists(path):    # it has just been started
            return 0, 0
        with open(path, "rb") as f:
            f.seek(self.offsets[name])
            data = f.read()
        whole = len(data) - len(data) % oplog.RECORD.size
        self.offsets[name] += whole
        kinds = data[0:whole:oplog.RECORD.size]     # the first byte of each record
        return kinds.count(oplog.DONE), kinds.count(oplog.ERROR)
