"""What happened in a drill: rounds, operations of the workers, samples of the cluster. Expectations and the
report look at it; nothing in it asks the cluster."""

import bisect
import math
from dataclasses import dataclass, field

from . import oplog


@dataclass
class Round:
    """Times are of CLOCK_MONOTONIC."""
    begin: float
    end: float = math.inf
    events: dict = field(default_factory=dict)      # name: (begin, end), as it was, not as the file wants it
    collected: dict = field(default_factory=dict)   # collector: (when it began, its log)
    healthy: float = math.inf                       # seconds from its end until status said so

    @property
    def first_event(self):
        return min((begin for begin, _ in self.events.values()), default=self.end)


class Story:
    def __init__(self, drill):
        self.drill, self.began, self.ended = drill, 0.0, 0.0
        self.rounds, self.samples, self.snapshots = [], [], []
        self.logs = {}          # worker: path
        self.breaches = []      # sentences: what was promised and broken
        self.cache = {}

    def ops(self, name, kind=None):
        """The operations of a worker, in the order of their ends; while it works: those so far."""
        if not self.ended:
            return [op for op in oplog.read(self.logs[name]) if kind in (None, op.kind)]
        if (name, kind) not in self.cache:
            ops = [op for op in oplog.read(self.logs[name]) if kind in (None, op.kind)]
            self.cache[name, kind] = sorted(ops, key=lambda op: op.end)
        return self.cache[name, kind]

    def ops_as_logged(self, name):
        """In the order in which the worker logged them."""
        return oplog.read(self.logs[name])

    def done(self, name, begin, end):
        """Its operations that were acknowledged between the two."""
        ops = self.ops(name, oplog.DONE)
        ends = self.cache.setdefault((name, "ends"), [op.end for op in ops])
        return ops[bisect.bisect_left(ends, begin):bisect.bisect_left(ends, end)]

    def longest_gap(self, name, begin, end):
        """The longest time between two completed operations of which a part lies between the two."""
        ops = self.ops(name, oplog.DONE)
        ends = self.cache.setdefault((name, "ends"), [op.end for op in ops])
        first, last = bisect.bisect_left(ends, begin), bisect.bisect_left(ends, end)
        before = ends[first - 1] if first else begin
        after = ends[last] if last < len(ends) else end
        times = [before, *ends[first:last], after]
        return max(b - a for a, b in zip(times, times[1:]))

    def rate(self, name, begin, end):
        ops, took = self.done(name, begin, end), max(end - begin, 1e-9)
        return {"operations": len(ops) / took, "bytes": sum(op.size for op in ops) / took}

    def collected(self, name, rnd):
        """(when it began, how long it took, how many files); inf: it did not read all of them."""
        if name not in rnd.collected:
            return None, math.inf, 0
        begin, log, ended = rnd.collected[name]
        ops = oplog.read(log)
        well = ended is not None and all(op.kind == oplog.DONE for op in ops)
        return begin, ended - begin if well else math.inf, len(ops)

    def fenced_after(self, site, begin, end):
        """Seconds from begin until another site's leader says that the servers of this one have no sessions."""
        for s in self.samples:
            servers = [state for (place, name), state in s["servers"].items()
                       if place == site and not name.startswith("hint")]
            if begin <= s["time"] < end and s["site"] != site and servers and "up" not in servers:
                return s["time"] - begin
        return math.inf

    def path_after(self, a, b, routers, begin, end):
        """(seconds until packets go this way, the way they went last)."""
        last = ["unknown"]
        for s in self.samples:
            if begin <= s["time"] < end and s.get("paths"):
                last = s["paths"].get((a, b), last)
                if last == routers:
                    return s["time"] - begin, last
        return math.inf, last
