"""Watches a drill: every second what each site's administrator would see, and whole states when asked to.

A sample is what one site sees: {"time", "site", "leader": id or 0, "health", "heard": votes, "servers": {(site,
name): state}}; one more a second has "paths": {(site, site): routers}. Times are monotonic."""

import json
import subprocess
import threading
import time

from cluster import Failure

EVERY = 1.0
PATIENCE = "900ms"      # how long a site looks for a leader


class Recorder:
    def __init__(self, network, cluster, story, pairs):
        """pairs: of sites whose ways are watched."""
        self.network, self.cluster, self.story, self.pairs = network, cluster, story, pairs
        self.stopping, self.thread, self.failed = threading.Event(), None, ""
        self.lock = threading.Lock()

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(30)

    def run(self):
        due = time.monotonic()
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + EVERY, time.monotonic())
            try:
                self.sample()
            except (Failure, OSError, ValueError, subprocess.SubprocessError) as e:
                self.failed = str(e)

    def ask(self, site, *words):
        return subprocess.Popen(self.cluster.distcloud_in(site, "--json", "--timeout", PATIENCE, *words),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    @staticmethod
    def answer(process, seconds=5):
        """What it printed, {} if nothing that is JSON."""
        try:
            return json.loads(process.communicate(timeout=seconds)[0])
        except (ValueError, subprocess.TimeoutExpired):
            return {}
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def sample(self):
        asked = {site: self.ask(site, "status") for site in self.cluster.sites}
        if self.pairs:
            routes = self.network.routes()
            paths = {(a, b): self.network.path(a, b, routes) for a, b in self.pairs}
            self.keep({"time": time.monotonic(), "site": "", "leader": 0, "servers": {}, "paths": paths})
        for site, process in asked.items():
            self.keep(self.reduced(site, self.answer(process)))

    def keep(self, sample):
        with self.lock:
            self.story.samples.append(sample)

    def reduced(self, site, status):
        """What a leader says that hears no majority any more is no news."""
        names = {s.id: (s.site, s.name) for s in self.cluster.servers}
        votes = status.get("votes", [])
        if 2 * sum(v["heard"] for v in votes) <= len(votes):
            status = {}
        return {"time": time.monotonic(), "site": site, "leader": status.get("leader", 0),
                "health": status.get("health", "no leader"),
                "heard": sum(v["heard"] for v in status.get("votes", [])),
                "servers": {names[s["id"]]: s["state"] for s in status.get("servers", []) if s["id"] in names}}

    def snapshot(self, label, paths):
        """All of it at a moment, for the report: the network, the cluster as the sites see it, the leases of
        the files that are worked on."""
        asked = {site: self.ask(site, "status") for site in self.cluster.sites}
        shown = {"label": label, "time": time.time(), "network": self.network.state(),
                 "status": {site: self.answer(process) for site, process in asked.items()}, "files": {}}
        for path in paths:
            for site in self.cluster.sites:
                if shown["status"][site]:
                    shown["files"][path] = self.answer(self.ask(site, "file", "show", "/" + path))
                    break
        with self.lock:
            self.story.snapshots.append(shown)
