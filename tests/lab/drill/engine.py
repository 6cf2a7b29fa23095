"""Carries a drill out: network, servers, workers, events, and at the end the checks.

    story = engine.Engine(drill, rundir, bindir).run()

Everything is put back whatever happens. What a worker was told stays in rundir/workers, the servers' logs in
rundir/sites."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from cluster import Failure, wait_for

from . import checks, disks, net, oplog
from .faults import parse as parse_fault
from .progress import Progress
from .recorder import Recorder
from .servers import NetCluster
from .story import Round, Story

WORKER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "worker.py")
START_SECONDS, HEALTHY_SECONDS, END_SECONDS = 60, 180, 60


class Engine:
    def __init__(self, drill, rundir, bindir, say=print):
        self.drill, self.rundir, self.bindir, self.say = drill, os.path.abspath(rundir), bindir, say
        self.story, self.processes, self.faults = Story(drill), {}, {}
        self.network = self.cluster = self.recorder = self.progress = None

    # --- from beginning to end ---

    def run(self):
        self.network = net.Network(self.drill.topology, self.rundir, self.bindir)
        with self.network:
            for name in ("workers", "sites"):
                shutil.rmtree(os.path.join(self.rundir, name), ignore_errors=True)
            os.makedirs(os.path.join(self.rundir, "workers"))
            self.network.wait_converged(START_SECONDS)
            words = [fault for event in self.drill.events.values() for fault in event.faults]
            self.cluster = NetCluster(self.network, self.drill.options, disks.needed(words, self.drill.topology))
            try:
                self.work()
            finally:
                self.put_back()
        return self.story

    def work(self):
        self.cluster.start(START_SECONDS)
        self.cluster.wait_healthy(START_SECONDS)
        self.say(f"{len(self.cluster.servers)} servers in {len(self.drill.topology.sites)} sites run")
        for worker in self.drill.workers.values():
            if worker.kind == "file":
                self.prepare(worker)
        self.story.began = time.monotonic()
        with Recorder(self.network, self.cluster, self.story, self.watched_pairs()) as self.recorder:
            for worker in self.drill.workers.values():
                if worker.kind not in ("file", "collector") and not worker.values["begin"]:
                    self.start(worker.name, self.spec(worker))
            self.progress = Progress({w.name: self.log_of(w.name) for w in self.drill.workers.values()
                                      if w.kind not in ("file", "collector")})
            for number in range(1, self.drill.rounds + 1):
                self.sleep_until(time.monotonic() + self.drill.settle)
                self.round(number)
            self.stop_workers()
            self.wait_healthy(time.monotonic())
            self.snapshot("after")
        self.story.ended = time.monotonic()
        self.verify()

    def put_back(self):
        """A second Ctrl-C does not stop this half-way; what it cannot do the network's end does."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.story.ended = self.story.ended or time.monotonic()
            for process in self.processes.values():
                process.kill()
            self.network.faults.forget()    # nothing dies that waits for a frozen disk
            self.cluster.remove()
            for process in self.processes.values():
                process.wait()
        finally:
            signal.signal(signal.SIGINT, before)

    # --- workers ---

    def watched_pairs(self):
        """The ways that an expectation looks at."""
        words = [e.words.split() for e in self.drill.expectations]
        return sorted({(w[1], w[3]) for w in words if w[0] == "path"})

    def log_of(self, name):
        return os.path.join(self.rundir, "workers", name + ".log")

    def spec(self, worker, **more):
        path = os.path.join(self.cluster.mount(worker.site), worker.path)
        if worker.kind == "reader":
            more["after"] = self.log_of(worker.values["of"])
        return {"kind": worker.kind, "log": self.log_of(worker.name), "path": path, "number": worker.number,
                "slots": worker.slots, "pages": worker.pages, **worker.values, **more}

    def start(self, name, spec, site=None):
        """Runs a worker in its site's network, as a program on a host there would."""
        site = site or self.drill.workers[name].site
        spec["outside"] = os.stat(os.path.join(self.cluster.root, site)).st_dev
        self.processes[name] = self.network.popen(site, [sys.executable, WORKER, json.dumps(spec)],
                                                  stdin=subprocess.PIPE, cwd="/")
        self.story.logs[name] = spec["log"]

    def prepare(self, worker):
        self.start(worker.name, self.spec(worker, kind="preparer"))
        self.end(worker.name)
        if not self.story.ops(worker.name, oplog.DONE):
            raise Failure(f"the file {worker.name} could not be prepared")

    def end(self, name, seconds=END_SECONDS):
        """Asks a worker to end and waits; a breach if it does not."""
        process = self.processes.pop(name)
        process.stdin.close()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.story.breaches.append(f"{name} hangs {seconds} s after everything was put back")
            process.kill()
        else:
            if process.returncode != 0:
                self.story.breaches.append(f"{name} ended with {process.returncode}")

    def stop_workers(self):
        for process in self.processes.values():
            process.stdin.close()
        for name in list(self.processes):
            self.end(name)

    # --- rounds ---

    def round(self, number):
        rnd, drill = Round(time.monotonic()), self.drill
        self.story.rounds.append(rnd)
        self.say(f"round {number} of {drill.rounds}")
        self.snapshot(f"before round {number}")
        rnd.begin = time.monotonic()
        actions = []
        for event in drill.events.values():
            actions += [(event.at, 1, event.name, lambda e=event: self.begin(rnd, e)),
                        (event.until, 0, event.name, lambda e=event: self.undo(rnd, e)),
                        ((event.at + event.until) / 2, 2, event.name, lambda e=event: self.snapshot(f"in {e.name}"))]
        for worker in drill.workers.values():
            if worker.kind == "collector":
                actions.append((worker.values["at"], 3, worker.name, lambda w=worker: self.collect(rnd, w, number)))
            elif number == 1 and worker.values.get("begin"):
                actions.append((worker.values["begin"], 3, worker.name, lambda w=worker: self.start(w.name, self.spec(w))))
        for at, _, _, action in sorted(actions, key=lambda a: a[:3]):
            self.sleep_until(rnd.begin + at)
            action()
        self.sleep_until(rnd.begin + drill.length)
        rnd.end = time.monotonic()
        last = max((end for _, end in rnd.events.values()), default=rnd.end)
        rnd.healthy = self.wait_healthy(last)
        for name, (began, log, _) in rnd.collected.items():
            self.end(f"{name}-{number}")
            ops = oplog.read(log)
            rnd.collected[name] = (began, log, ops[-1].end if ops else began)

    def begin(self, rnd, event):
        began = time.monotonic()
        self.faults[event.name] = [parse_fault(words, self.drill.topology) for words in event.faults]
        for fault in self.faults[event.name]:
            fault.apply(self.network, self.cluster)
        rnd.events[event.name] = (began, float("inf"))
        self.say(f"{began - rnd.begin:5.1f} s  {event.name}: {' and '.join(event.faults)}")

    def undo(self, rnd, event):
        for fault in self.faults.pop(event.name)[::-1]:
            fault.undo()
        rnd.events[event.name] = (rnd.events[event.name][0], time.monotonic())
        self.say(f"{time.monotonic() - rnd.begin:5.1f} s  end of {event.name}")

    def collect(self, rnd, worker, number):
        name = f"{worker.name}-{number}"
        rnd.collected[worker.name] = (time.monotonic(), self.log_of(name), None)
        of = self.drill.workers[worker.values["of"]]
        self.start(name, self.spec(worker, log=self.log_of(name), number=of.number, of=self.log_of(of.name),
                                   since=rnd.begin), worker.site)

    def snapshot(self, label):
        self.recorder.snapshot(label, [w.path for w in self.drill.workers.values() if w.kind in ("file", "writer")])

    def sleep_until(self, when):
        """Tells how it goes meanwhile, and notices what should not be."""
        progress = self.progress
        while time.monotonic() < when:
            time.sleep(max(0.0, min(when - time.monotonic(), progress.due - time.monotonic())))
            line = progress.line()
            if line:
                self.say(f"       {line}")
            crashed = self.cluster.crashed() + self.network.broken()
            if crashed:
                raise Failure("ended by itself: " + "\n".join(crashed))

    def wait_healthy(self, since):
        """Seconds from `since` until all sites say so."""
        def healthy():
            with self.recorder.lock:
                latest = {s["site"]: s for s in self.story.samples if s["site"]}
            if len(latest) == len(self.cluster.sites) and \
                    all(s["health"] == "healthy" and s["time"] > since for s in latest.values()):
                return max(s["time"] for s in latest.values())
            return None
        try:
            return wait_for("a healthy cluster", healthy, HEALTHY_SECONDS, 0.2) - since
        except Failure:
            return float("inf")

    # --- the end ---

    def verify(self):
        """What every site's mount has against what the workers were told."""
        story = self.story
        shown = {}      # path: the workers that write there
        for w in self.drill.workers.values():
            if w.kind in ("file", "writer", "creator"):
                shown.setdefault(w.path, []).append(w)
        files = {path: checks.File([story.ops_as_logged(w.name) for w in ws]) for path, ws in shown.items()}
        for site in self.cluster.sites:
            for path, ws in shown.items():
                self.verify_in(site, path, ws, files[path])
        for w in self.drill.workers.values():
            if w.kind == "reader":
                story.breaches += files[w.path].breaches(story.ops(w.name), w.name)
            story.breaches += [f"{w.name}: {checks.error_text(op.code)}" for op in
                               (story.ops(w.name, oplog.ERROR) if w.name in story.logs else [])
                               if op.code == checks.BAD_CONTENT]

    def verify_in(self, site, path, workers, file):
        name, worker = f"verify-{site}-{path}", workers[0]
        made = self.story.ops(worker.name)
        names = sorted(op.seq for op in made if op.kind == oplog.DONE) if worker.kind == "creator" else None
        self.start(name, {"kind": "verifier", "log": self.log_of(name), "names": names,
                          "path": os.path.join(self.cluster.mount(site), path)}, site)
        process = self.processes.pop(name)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            self.story.breaches.append(f"{path} cannot be read in {site} within {END_SECONDS} s")
            return
        ops, who = self.story.ops(name), f"{path} in {site}"
        self.story.breaches += checks.created_breaches(made, ops, who) if names is not None else \
            checks.final_breaches(file, worker.pages, ops, who)
