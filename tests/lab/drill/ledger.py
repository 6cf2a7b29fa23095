"""What is broken at the moment, on purpose, and what each thing is to be when it is not.

Everything that a fault can break is a *key*: ("interface", router, device), ("cable", link), ... A fault
claims values for some keys. A key's value is what the active faults claim, else what it is by nature;
whenever that changes it is enforced. So faults may overlap and be undone in any order: an interface that
two faults hold down comes up with the undo of the second.

The ledger is a file in the run's directory, written before anything is broken: another process (the plain
commands) can undo what one began that was killed."""

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass
from typing import Callable

from cluster import Failure

KINDS = {}
FILE = "faults.json"


@dataclass
class Kind:
    """nature(network, key): the value without faults. enforce(network, cluster, key, old, new): makes it
    so; it may find the thing in either state already. combine(values): of several claims, the oldest
    first. lasting: what it breaks outlives the namespaces, so that down() must undo it."""
    nature: Callable
    enforce: Callable
    combine: Callable = lambda values: values[-1]
    lasting: bool = False


def register(name, kind):
    """For keys (name, ...). The values are such as JSON keeps."""
    KINDS[name] = kind


class Ledger:
    def __init__(self, network):
        self.network, self.cluster = network, None

    @property
    def path(self):
        return os.path.join(self.network.rundir, FILE)

    @contextlib.contextmanager
    def locked(self):
        """The faults, oldest first: to be changed under the lock and saved."""
        with open(self.path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.load()

    def load(self):
        try:
            with open(self.path) as f:
                return json.load(f)
        except FileNotFoundError:
            return []

    def save(self, faults):
        with open(self.path + ".new", "w") as f:
            json.dump(faults, f, indent=1)
        os.replace(self.path + ".new", self.path)

    def value(self, faults, key):
        kind = KINDS[key[0]]
        claimed = [v for fault in faults for k, v in fault["claims"] if tuple(k) == key]
        return kind.combine(claimed) if claimed else kind.nature(self.network, key)

    def settle(self, before, after, keys):
        """Enforces what differs, one after the other: yields (key, the sentence of a failure or None)."""
        for key in keys:
            old, new = self.value(before, key), self.value(after, key)
            if old == new:
                continue
            try:
                KINDS[key[0]].enforce(self.network, self.cluster, key, old, new)
            except (Failure, OSError) as e:
                yield key, str(e)
            else:
                yield key, None

    def settle_all(self, before, after, keys):
        """Goes on after a failure; the sentences of all."""
        return [sentence for _, sentence in self.settle(before, after, keys) if sentence]

    def add(self, words, claims, cluster=None):
        """Breaks something; the fault's number. If a part fails, what was done is taken back."""
        self.cluster = cluster or self.cluster
        claims = [[list(key), value] for key, value in claims]
        with self.locked() as faults:
            number = 1 + max((f["number"] for f in faults), default=0)
            after = faults + [{"number": number, "fault": words, "since": time.time(), "claims": claims}]
            self.save(after)
            done = []
            for key, failure in self.settle(faults, after, [tuple(key) for key, _ in claims]):
                done.insert(0, key)
                if failure:
                    self.save(faults)
                    self.settle_all(after, faults, done)
                    raise Failure(f"{words}: {failure}")
        return number

    def remove(self, number, cluster=None):
        """Undoes one; nothing happens if it has been undone already."""
        self.cluster = cluster or self.cluster
        with self.locked() as faults:
            after = [f for f in faults if f["number"] != number]
            gone = [f for f in faults if f["number"] == number]
            self.save(after)
            failed = [sentence for f in gone for sentence in
                      self.settle_all(faults, after, [tuple(key) for key, _ in f["claims"]][::-1])]
        if failed:
            raise Failure(f"undo of {gone[0]['fault']}: {'; '.join(failed)}")

    def clear(self, cluster=None):
        """Undoes all, the newest first, also when some cannot be."""
        failed = []
        for fault in reversed(self.active()):
            try:
                self.remove(fault["number"], cluster)
            except Failure as e:
                failed.append(str(e))
        if failed:
            raise Failure("; ".join(failed))

    def active(self):
        """[{"number", "fault", "since"}], the oldest first."""
        return [{k: f[k] for k in ("number", "fault", "since")} for f in self.load()]

    def now(self, *key):
        """The value that a key has under the active faults."""
        return self.value(self.load(), key)

    def forget(self):
        """For the end of the network: undoes only what would outlive it."""
        faults = self.load()
        keys = [tuple(key) for f in faults for key, _ in f["claims"] if KINDS[key[0]].lasting]
        failed = self.settle_all(faults, [], dict.fromkeys(keys[::-1]))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        if failed:
            raise Failure("; ".join(failed))
