#!/usr/bin/env python3
"""The faults of the drills: each does what it says, is seen where it should be, and its undo restores.

usage: drill_faults.py BINDIR DIRECTORY
"""

import os
import re
import subprocess
import sys
import time

from cluster import wait_for
from drill import bird, faults, guard, ledger, net, run_id, stream, topology
from drill.guard import expect, says, step

HERE = os.path.dirname(os.path.abspath(__file__))
LATE = 0.015    # seconds that a busy machine may add to a round trip
TWO_SITES = """
[network]
bfd = off
hold = 60s      # routes stay, whatever the link loses
[router left]
as = 1
[router right]
as = 2
[site a]
prefix = 10.1.0.0/24
router = left
core = 1
[site b]
prefix = 10.2.0.0/24
router = right
[link left right]
delay = 5ms
rate = 1Gbit
"""


class broken:
    """with broken(network, words): the fault is there inside, and undone behind."""

    def __init__(self, network, words, cluster=None):
        self.network, self.cluster = network, cluster
        self.fault = faults.parse(words, network.topology)

    def __enter__(self):
        self.fault.apply(self.network, self.cluster)
        return self.fault

    def __exit__(self, *_):
        self.fault.undo()


# --- conditions of a link, between two sites ---

def echoes(n, count, interval):
    """What ping says about so many, from a to b."""
    argv = ["ping", "-n", "-i", interval, "-c", count, "-W", 1, "10.2.0.1"]
    return n.popen("a", argv, stdout=subprocess.PIPE, text=True).communicate()[0]


def times(said):
    return [float(ms) / 1e3 for ms in re.findall(r"time=([\d.]+)", said)]


def carried(n, seconds):
    """Bits a second of a TCP stream from a to b."""
    return stream.end(stream.begin(n, "a", "b", seconds))


def counters(n):
    return n.wan.show()["left-right"]


def delays(n):
    def rtt_is(low):
        rtt = n.rtt("a", "b")
        expect(f"{low} <= {rtt} <= {low + LATE} s", rtt and low <= rtt <= low + LATE)
    rtt_is(0.010)
    with broken(n, "delay left-right 20ms out"):
        rtt_is(0.030)
        with broken(n, "delay left-right 40ms both"):   # the newest counts
            rtt_is(0.090)
        rtt_is(0.030)
    with broken(n, "jitter left-right 5ms"):
        took = times(echoes(n, 50, 0.01))
        expect(f"round trips vary: {min(took)} ... {max(took)}", max(took) - min(took) > 0.004)
        expect(f"none is faster than it can be: {min(took)}", min(took) >= 0)
    rtt_is(0.010)
    step("delay and jitter are as configured")


def losses(n):
    before = counters(n)
    with broken(n, "loss right-left 30% in"):   # as seen from right: what comes from left
        got = len(times(echoes(n, 300, 0.005)))
        expect(f"{got} of 300 come through with 30 % loss", 165 <= got <= 255)
    lost = [after["lost"] - b["lost"] for after, b in zip(counters(n), before)]
    expect(f"lost in the one direction only: {lost}", lost[0] > 30 and lost[1] == 0)
    with broken(n, "loss left-right 100% in"):
        before = counters(n)
        expect("nothing comes back", n.ping("a", "b") is None)
        after = counters(n)
        expect("questions arrive, answers are lost", after[0]["lost"] == before[0]["lost"] and
               after[1]["lost"] > before[1]["lost"])
    with broken(n, "duplicate left-right 100% out"):
        expect("echoes come twice", "DUP!" in echoes(n, 5, 0.05))
    with broken(n, "corrupt left-right 100% out"):
        expect("damaged packets are found out", n.ping("a", "b") is None)
    with broken(n, "cut left-right"):
        expect("no carrier", n.interfaces("left") == {"to-right": "no carrier", "to-a": "up"})
    wait_for("the route to be back", lambda: n.ping("a", "b"), 20)
    step("loss, duplicates, damage, and a cut cable")


def rates(n):
    with broken(n, "rate left-right 20Mbit out"):
        slow = carried(n, 2)
        expect(f"{slow / 1e6:.1f} Mbit/s where 20 is the rate", 12e6 <= slow <= 21e6)
    full = carried(n, 1.5)
    expect(f"{full / 1e6:.0f} Mbit/s over 1 Gbit/s", 500e6 <= full <= 1010e6)
    with broken(n, "rate left-right unlimited"):
        most = carried(n, 1.5)
        expect(f"{most / 1e6:.0f} Mbit/s without a limit", most >= 1e9)
    step(f"rates: {slow / 1e6:.1f} of 20, {full / 1e6:.0f} of 1000, at most {most / 1e6:.0f} Mbit/s")


# --- routes, in the net of eight access points ---

def way(n, a="kanazawa", b="tokyo"):
    return n.path(a, b)


DIRECT, DETOUR = ["nagoya", "otemachi"], ["nagoya", "osaka", "otemachi"]


def works(n, path=None):
    return (path is None or way(n) == path) and n.ping("kanazawa", "tokyo") is not None


def detours(n):
    """A link that loses everything, or is cut: BGP goes round it, and comes back."""
    for words, seconds in (("cut nagoya-otemachi", 5), ("loss nagoya-otemachi 100% out", 10),
                           ("interface nagoya otemachi down", 10)):
        with broken(n, words):
            began = time.monotonic()
            wait_for(f"the detour with {words}", lambda: works(n, DETOUR), seconds)
            took = time.monotonic() - began
        wait_for("the direct way to be back", lambda: works(n, DIRECT), 15)
        step(f"{words}: the detour after {took:.1f} s")


def forced(n):
    with broken(n, "route nagoya to tokyo via osaka"):
        expect(f"over osaka: {way(n)}", way(n) == DETOUR and works(n))
        with broken(n, "route osaka to tokyo blackhole"):
            expect(f"into nowhere: {way(n)}", way(n) == ["nagoya", "osaka", "unreachable"])
            expect("no answer", not works(n))
        with broken(n, "interface nagoya osaka,otemachi down"):
            pass    # which come up one after the other, that of the route last
        expect(f"the route is there again after its interface was down: {way(n)}", way(n) == DETOUR)
    wait_for("BGP's way again", lambda: works(n, DIRECT), 15)
    with broken(n, "loop osaka nagoya to tokyo"):
        expect(f"a loop: {way(n)}", way(n) == ["nagoya", "osaka", "loop"] and not works(n))
    with broken(n, "route otemachi to tokyo via sendai"):
        expect("also over the route of a router's own site", not works(n))
    expect(f"BGP's way again: {way(n)}", way(n) == DIRECT and works(n))
    step("forced routes, black hole and loop")


def flaps(n):
    def session():
        return bird.sessions(n, "nagoya")["otemachi"] == "Established"
    with broken(n, "flap nagoya otemachi every 4s"):
        for _ in range(2):
            wait_for("the session to go", lambda: not session(), 8)
            wait_for("the session to come", session, 8)
    wait_for("the direct way to be back", lambda: works(n, DIRECT), 15)
    for _ in range(10):     # it stays: nothing goes on flapping
        expect("the session stays", session())
        time.sleep(0.3)
    step("a route flaps, and stops to")


def routers(n):
    """Faults may overlap; what two hold down comes up with the undo of the second."""
    down = faults.parse("router nagoya down", n.topology)
    down.apply(n)
    with broken(n, "interface nagoya all down"):
        expect("all is down", set(n.interfaces("nagoya").values()) == {"down"})
        expect("bird has stopped", not bird.pid(n, "nagoya"))
        expect("its site is cut off", not works(n))
        others = n.pairs()
        others = [p for p in others if "kanazawa" not in p]
        wait_for("the others to reach one another", lambda: len(n.reachable(others)) == len(others), 10)
        down.undo()
        expect("the links are still down, the site's interface is up",
               n.interfaces("nagoya") == {"to-otemachi": "down", "to-osaka": "down", "to-kanazawa": "up"})
        expect(f"it is listed: {n.faults.active()}", [f["fault"] for f in n.faults.active()] ==
               ["interface nagoya all down"])
    wait_for("the direct way to be back", lambda: works(n, DIRECT), 20)
    down.undo()     # once more does nothing
    step("a router down, and faults that overlap")


class Programs:
    """A cluster for the faults of sites: its servers are programs that wait."""

    def __init__(self, network):
        self.network, self.process = network, {}
        for site in network.topology.sites:
            for name in set(network.addresses(site)) - {"host"}:
                self.start_server(site, name)

    def start_server(self, site, name):
        self.process[site, name] = self.network.popen(site, ["sleep", "1000"])

    def kill_server(self, site, name):
        self.process[site, name].kill()
        self.process[site, name].wait()

    def signal_server(self, site, name, number):
        self.process[site, name].send_signal(number)

    def state(self, site, name):
        """R, S, T: as in ps; empty: it has ended."""
        pid = self.process[site, name].pid
        if self.process[site, name].poll() is not None or not run_id.start_of(pid):
            return ""
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]


def sites(n):
    cluster = Programs(n)
    with broken(n, "server nara/core1 pause", cluster):
        wait_for("it to be stopped", lambda: cluster.state("nara", "core1") == "T", 5)
        with broken(n, "server nara/core1 kill", cluster):
            expect("it is killed", not cluster.state("nara", "core1"))
        wait_for("it to be as before", lambda: cluster.state("nara", "core1") == "T", 5)
    wait_for("it to run", lambda: cluster.state("nara", "core1") == "S", 5)
    with broken(n, "site nara down", cluster):
        expect("all are killed", not any(cluster.state("nara", s) for s in ("core1", "core2", "hint1")))
        expect("others are not", cluster.state("tokyo", "core1"))
        expect("nothing reaches it", n.ping("tokyo", "nara") is None)
    wait_for("its servers to run", lambda: all(cluster.state("nara", s) for s in ("core1", "hint1")), 5)
    wait_for("it to be reached", lambda: n.ping("tokyo", "nara"), 10)
    step("a site down, a server killed and paused")


def bad_words(t):
    """Each with what must stand in the sentence."""
    for words, expected in (
            ("", ["no such fault", "interface, loss"]), ("flood osaka", ["flood osaka", "loss"]),
            ("interface kobe all down", ["router kobe", "nagoya"]),
            ("interface nagoya sendai down", ["nagoya to sendai", "otemachi"]),
            ("loss nagoya-sendai 10%", ["nagoya-sendai", "nagoya-otemachi"]),
            ("loss nagoya-otemachi 101%", ["0% to 100%", "loss LINK"]),
            ("loss nagoya-otemachi 10% up", ["in|out|both"]), ("delay nagoya-otemachi 5", ["unit", "20ms"]),
            ("rate nagoya-otemachi fast", ["Gbit"]), ("route nagoya to tokyo", ["via NEIGHBOUR"]),
            ("route nagoya to tokyo via sendai", ["sendai", "osaka"]),
            ("route nagoya to x blackhole", ["site x"]),
            ("loop nagoya okayama to tokyo", ["okayama", "osaka"]), ("router nara down", ["router nara"]),
            ("flap nagoya osaka every 1ms", ["at least 2s"]), ("site osaka down", ["site osaka", "nara"]),
            ("server nara/core7 kill", ["core7", "core1, core2"]),
            ("server nara/core1 hurt", ["kill", "pause"])):
        says(words, expected, lambda: faults.parse(words, t))
    expect("the help tells all", all(f"\n  {verb} " in "\n" + faults.help_text()
                                     for verb in faults.VOCABULARY.forms))
    step("senseless faults are refused")


def added(path):
    """A fault that another part of the lab adds; what it breaks is outside of the network."""
    def enforce(_network, _cluster, _key, _old, new):
        with open(path, "w") as f:
            f.write(new)
    ledger.register("file", ledger.Kind(lambda _n, _k: "whole", enforce, lasting=True))

    def parse_file(words):
        if words != ["torn"]:
            raise ValueError
        return lambda _topology: [(("file",), "torn")]
    faults.register("file", "file torn  the file of this test", parse_file)
    says("words that do not fit", ["file torn"], lambda: faults.parse("file eaten"))
    return faults.parse("file torn")


def test(bindir, root):
    path = os.path.join(root, "two.conf")
    with open(path, "w") as f:
        f.write(TWO_SITES)
    with net.Network(topology.load(path), os.path.join(root, "two"), bindir) as n:
        n.wait_converged(20)
        for check in (delays, losses, rates):
            check(n)
        says("no cluster", ["a/core1"], lambda: faults.parse("site a down", n.topology).apply(n))
        expect("and nothing stays of it", not n.faults.active() and n.ping("a", "b"))
    access8 = topology.load(os.path.join(HERE, "drill", "topologies", "access8.conf"))
    bad_words(access8)
    with net.Network(access8, os.path.join(root, "access8"), bindir) as n:
        n.wait_converged(20)
        for check in (forced, detours, flaps, routers, sites):
            check(n)
        n.wait_converged(20)
        path = os.path.join(root, "file")
        added(path).apply(n)
        with open(path) as f:
            expect("it is torn", f.read() == "torn")
    with open(path) as f:
        expect("the network's end has mended it", f.read() == "whole")


sys.exit(guard.main(test))
