"""Was a promise broken? From the logs of the workers alone, each a sentence per breach.

A page is a register: a write counts from some moment between its begin and its acknowledgement, an unacknowledged
one from some moment between its begin and its error, or never. What is read must be a write that no other one,
acknowledged before the read began, has surely replaced."""

import bisect
import errno
import math
import os
from dataclasses import dataclass

from . import oplog
from .worker import BAD_CONTENT


@dataclass
class Write:
    begin: float
    end: float = math.inf       # its acknowledgement or its error; none yet: it may still come
    acked: bool = False


def error_text(code):
    if code == BAD_CONTENT:
        return "content that nobody wrote there"
    return errno.errorcode.get(code, str(code)) + f" ({os.strerror(code)})"


class File:
    """All writes to one file, of one or more writers."""

    def __init__(self, logs):
        """logs: the operations of each of its writers."""
        self.slots = {}         # slot: {(writer, seq): Write}
        for ops in logs:
            self.add(ops)
        self.acked = {slot: self.replaced_by(writes.values()) for slot, writes in self.slots.items()}

    def add(self, ops):
        pending = []
        for op in ops:
            if op.kind == oplog.START:
                write = Write(op.begin)
                self.slots.setdefault(op.slot, {})[op.writer, op.seq] = write
                pending.append(write)
                continue
            for write in pending:
                write.end, write.acked = op.end, op.kind == oplog.DONE
            pending = []

    @staticmethod
    def replaced_by(writes):
        """(ends, begins): of the writes acknowledged up to ends[i], begins[i] is the latest begin."""
        acked = sorted((w.end, w.begin) for w in writes if w.acked)
        latest, begins = 0.0, []
        for _, begin in acked:
            latest = max(latest, begin)
            begins.append(latest)
        return [end for end, _ in acked], begins

    def wrong(self, slot, writer, seq, begin, end):
        """Why a read of this slot between begin and end cannot have found this; None: it can."""
        write = self.slots.get(slot, {}).get((writer, seq)) if seq else Write(0.0, 0.0)
        if not write or write.begin > end:
            return f"has write {seq} of writer {writer}, which was not yet made"
        ends, begins = self.acked.get(slot, ([], []))
        before = bisect.bisect_left(ends, begin)
        if before and begins[before - 1] > write.end:
            what = f"write {seq} of writer {writer}" if seq else "zeros"
            return f"has {what}, though a later write was acknowledged {begin - ends[before - 1]:.2f} s before the read"
        return None

    def breaches(self, reads, who):
        """reads: operations of a reader of whole slots."""
        found = []
        for op in reads:
            if op.kind == oplog.DONE:
                why = self.wrong(op.slot, op.writer, op.seq, op.begin, op.end)
                if why:
                    found.append(f"{who}: slot {op.slot} {why}")
        return found


def final_breaches(file, pages, ops, who):
    """ops: of a verifier of a file whose slots have so many pages each. Pages that a verifier did not come to are
    zeros, or lost."""
    found, seen = [], set()
    for op in ops:
        if op.kind == oplog.ERROR:
            found.append(f"{who}: page {op.slot}: {error_text(op.code)}")
            continue
        seen.add(op.slot)
        why = file.wrong(op.slot // pages, op.writer, op.seq, op.begin, op.end)
        if why:
            found.append(f"{who}: page {op.slot} {why}")
    for slot, (ends, _) in file.acked.items():
        missing = [p for p in range(slot * pages, (slot + 1) * pages) if p not in seen] if ends else []
        if missing and not found:
            found.append(f"{who}: page {missing[0]} is not there, though a write of it was acknowledged")
    return found


def created_breaches(made, ops, who):
    """made: of a creator; ops: of a verifier of its directory, by name. A file that nobody acknowledged may be
    missing."""
    acked = {op.seq for op in made if op.kind == oplog.DONE}
    found = []
    for op in ops:
        if op.kind == oplog.ERROR and op.slot in acked:
            found.append(f"{who}: file {op.slot}: {error_text(op.code)}, though its creation was acknowledged")
        elif op.kind == oplog.DONE and op.slot in acked and op.seq != op.slot:
            found.append(f"{who}: file {op.slot} has record {op.seq}")
    if acked - {op.slot for op in ops}:
        found.append(f"{who}: not all files were looked at")
    return found
