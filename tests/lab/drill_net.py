#!/usr/bin/env python3
"""The network half of the drills: topologies come up as their files say, and bad files are refused.

usage: drill_net.py BINDIR DIRECTORY
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import isolate
from cluster import Failure, on_terminated
from drill import ini, net, netns, topology

TOPOLOGIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drill", "topologies")
LATE = 0.015    # seconds that a busy machine may add to a round trip


def shipped(name):
    return topology.load(os.path.join(TOPOLOGIES, name + ".conf"))


def expect(what, condition):
    if not condition:
        raise Failure(f"not so: {what}")


def says(what, words, call):
    """call() fails with a sentence that has all the words in it."""
    try:
        call()
    except Failure as e:
        for word in words:
            expect(f"{what}: {str(e)!r} has {word!r} in it", word in str(e))
        return
    raise Failure(f"{what}: was taken")


def bad_files(root):
    """Each with the line that is wrong, and what the sentence must have in it."""
    path = os.path.join(root, "bad.conf")
    with open(os.path.join(TOPOLOGIES, "triangle.conf")) as f:
        good = f.read()
    cases = [
        ("no section", "as = 1\n" + good, ["bad.conf:1:", "before the first"]),
        ("unknown router", good + "[link gw-nara gw-kyoto]\ndelay = 1ms\n", ["gw-kyoto", "gw-hiroshima"]),
        ("site on an unknown router", good.replace("router = gw-nara", "router = gw-kobe"),
         ["gw-kobe", "bad.conf:"]),
        ("duplicate link", good + "[link gw-kanazawa gw-hiroshima]\ndelay = 1ms\n", ["already", "line"]),
        ("overlap", good.replace("10.3.0.0/24", "10.1.0.0/24"), ["overlaps", "hiroshima"]),
        ("delay without unit", good.replace("delay = 5ms", "delay = 5", 1), ["delay = 5", "unit"]),
        ("loss of 120 %", good + "loss = 120%\n", ["loss", "100%"]),
        ("unknown key", good + "weight = 3\n", ["weight", "delay, jitter"]),
        ("twice the same AS", good.replace("65002", "65001"), ["AS 65001", "gw-hiroshima"]),
        ("two of a name", good.replace("[site nara]", "[site gw-nara]"), ["gw-nara", "router"]),
        ("an island", good + "[router far]\nas = 9\n[site far-site]\nprefix = 10.9.0.0/24\nrouter = far\n",
         ["far-site"]),
        ("the routers' own prefix", good.replace("10.3.0.0/24", "10.254.1.0/24"), ["10.254.0.0/15"]),
    ]
    for what, text, words in cases:
        with open(path, "w") as f:
            f.write(text)
        says(what, ["bad.conf"] + words, lambda: topology.load(path))
    says("no file", ["no-such.conf", "No such file"], lambda: topology.load("no-such.conf"))
    expect("BadFile is a Failure", issubclass(ini.BadFile, Failure))


def comes_up(name, bindir, root):
    """Every site reaches every other, over the way with the fewest links, in the time of its delays."""
    t = shipped(name)
    with net.Network(t, os.path.join(root, name), bindir) as n:
        n.wait_converged(40)
        routes = n.routes()
        for (a, b), rtt in n.pings(n.pairs(), 3).items():
            path = n.path(a, b, routes)
            expect(f"{a} to {b} goes over as few links as it can: {path}",
                   len(path) == len(t.path(a, b)))
            links = [t.link_between(x, y) for x, y in zip(path, path[1:])]
            low = 2 * sum(link.delay - link.jitter for link in links)
            high = 2 * sum(link.delay + link.jitter for link in links) + LATE
            expect(f"{a} to {b}: {low:.4f} <= {rtt} <= {high:.4f} s", rtt and low <= rtt <= high)
        state = n.state()
        expect("every link is in the state", set(state["links"]) == set(t.links))
    expect(f"nothing is left of {name}: {netns.names()}", not netns.names())
    print(f"{name}: {len(t.sites)} sites reach one another", flush=True)


def main():
    bindir, root = sys.argv[1], sys.argv[2]
    began = time.monotonic()
    signal.signal(signal.SIGTERM, on_terminated)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    try:
        isolate.isolate()
        os.makedirs(netns.DIRECTORY, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", netns.DIRECTORY], check=True)
        bad_files(root)
        for name in ("triangle", "access8", "national12"):
            comes_up(name, bindir, root)
    except (Failure, OSError) as e:
        print(f"FAILED: {e}", file=sys.stderr)
        return 1
    print(f"ok, {time.monotonic() - began:.0f} s")
    shutil.rmtree(root)
    return 0


sys.exit(main())
