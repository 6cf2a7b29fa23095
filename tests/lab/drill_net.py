#!/usr/bin/env python3
"""The networks of the drills: each shipped topology comes up as its file says, bad files are refused,
and an end of any kind leaves nothing.

usage: drill_net.py BINDIR DIRECTORY
"""

import os
import signal
import subprocess
import sys

from cluster import Failure, wait_for
from drill import guard, net, netns, run_id, topology
from drill.cleanup import cleanup
from drill.guard import expect, says, step

DRILL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drill")
TOPOLOGIES = os.path.join(DRILL, "topologies")
LATE = 0.015    # seconds that a busy machine may add to a round trip


def shipped(name):
    return os.path.join(TOPOLOGIES, name + ".conf")


def bad_files(root):
    """Each names file and line, and has these words in it."""
    path = os.path.join(root, "bad.conf")
    with open(shipped("triangle")) as f:
        good = f.read()
    far = "[router far]\nas = 9\n[site far-site]\nprefix = 10.9.0.0/24\nrouter = far\n"
    cases = [
        ("no section", "as = 1\n" + good, ["bad.conf:1:", "before the first"]),
        ("neither key nor section", good + "delay 5ms\n", ["key = value", "delay 5ms"]),
        ("a key twice", good + "delay = 6ms\n", ["delay", "already"]),
        ("unknown section", good + "[host x]\n", ["[host x]", "[site NAME]"]),
        ("unknown router", good + "[link gw-nara gw-kyoto]\ndelay = 1ms\n", ["gw-kyoto", "gw-hiroshima"]),
        ("site on an unknown router", good.replace("router = gw-nara", "router = gw-kobe"), ["gw-kobe"]),
        ("duplicate link", good + "[link gw-kanazawa gw-hiroshima]\ndelay = 1ms\n", ["already", "line"]),
        ("overlap", good.replace("10.3.0.0/24", "10.1.0.0/24"), ["overlaps", "hiroshima"]),
        ("no prefix", good.replace("prefix = 10.3.0.0/24\n", ""), ["[site nara] lacks prefix"]),
        ("delay without unit", good.replace("delay = 5ms", "delay = 5", 1), ["delay = 5", "unit"]),
        ("loss of 120 %", good + "loss = 120%\n", ["loss", "100%"]),
        ("unknown key", good + "weight = 3\n", ["weight", "delay, jitter"]),
        ("twice the same AS", good.replace("65002", "65001"), ["AS 65001", "gw-hiroshima"]),
        ("two of a name", good.replace("[site nara]", "[site gw-nara]"), ["gw-nara", "router"]),
        ("a long name", good.replace("[site nara]", "[site nara-the-ancient]"), ["nara-the-ancient"]),
        ("an island", good + far, ["far-site"]),
        ("the routers' own prefix", good.replace("10.3.0.0/24", "10.254.1.0/24"), ["10.254.0.0/15"]),
    ]
    for what, text, words in cases:
        with open(path, "w") as f:
            f.write(text)
        says(what, ["bad.conf:"] + words, lambda: topology.load(path))
    says("no file", ["no-such.conf", "No such file"], lambda: topology.load("no-such.conf"))
    step(f"{len(cases)} bad topology files are refused")


def comes_up(name, bindir, root):
    """Every site reaches every other, over the way with the fewest links, in the time of its delays."""
    t = topology.load(shipped(name))
    with net.Network(t, os.path.join(root, name), bindir) as n:
        n.wait_converged(40)
        routes = n.routes()
        for (a, b), rtt in n.pings(n.pairs(), 3).items():
            path = n.path(a, b, routes)
            expect(f"{a} to {b} goes over as few links as it can: {path}", len(path) == len(t.path(a, b)))
            links = [t.link_between(x, y) for x, y in zip(path, path[1:])]
            low = 2 * sum(link.delay - link.jitter for link in links)
            high = 2 * sum(link.delay + link.jitter for link in links) + LATE
            expect(f"{a} to {b}: {low:.4f} <= {rtt} <= {high:.4f} s", rtt and low <= rtt <= high)
        state = n.state()
        expect("every link is in the state", set(state["links"]) == set(t.links))
        expect(f"all runs: {n.broken()}", not n.broken())
    expect(f"nothing is left of {name}: {netns.names()}", not netns.names())
    step(f"{name}: {len(t.sites)} sites reach one another")


def forwarder(bindir, root):
    """distcloud-wan refuses senseless commands and goes on; its end does not go unnoticed."""
    n = net.Network(topology.load(shipped("triangle")), os.path.join(root, "forwarder"), bindir)
    link, here = "gw-nara-gw-hiroshima", netns.path(n.namespace("nara"))
    n.up()
    try:
        n.wait_converged(20)
        for command, words in (
                ("flood", ["link, set, cut"]), ("set", ["set"]), ("w " * 20, ["more than 16"]),
                ("x" * 5000, ["no such command"]), ("cut a-b", ["no link a-b"]),
                (f"set {link} 2 loss=1", ["direction 2"]), (f"set {link} 0 loss=1000001", ["bounds"]),
                (f"set {link} 0 loss=", ["bounds"]), (f"set {link} 0 loss=-1", ["bounds"]),
                (f"set {link} 0 delay_ns=99999999999999999999", ["bounds"]),
                (f"set {link} 0 speed=1", ["speed=1"]), (f"link {link} {here} x {here} y", ["already"]),
                (f"link q /none x {here} y", ["/none", "No such file"]),
                (f"link q {here} x {here} uplink", ["uplink"]),
                (f"link q {here} x {here} {'y' * 16}", ["too long"])):
            says(command, words, lambda: n.wan.ask(command))
        expect("a refused link leaves no device",
               subprocess.run(n.command("nara", ["ip", "link", "show", "x"]),
                              capture_output=True).returncode != 0)
        expect("it goes on", n.ping("nara", "hiroshima") and not n.broken())
        os.kill(n.wan.process.pid, signal.SIGKILL)
        wait_for("its end to be noticed", n.broken, 5)
        says("commands to a dead one", ["distcloud-wan does not answer"], lambda: n.wan.ask("show"))
    finally:
        says("the network's end", ["distcloud-wan ended with -9"], n.down)
    step("the forwarder refuses what is senseless")


class Lab:
    """`distcloud drill up` as a process, and commands to it."""
    started = []

    def __init__(self, bindir, directory):
        self.started.append(self)
        self.directory, self.program = directory, os.path.join(bindir, "distcloud")
        self.process = subprocess.Popen([self.program, "drill", "up",
                                         shipped("triangle"), directory, "--bare"],
                                        stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.run = f"{self.process.pid}.{run_id.start_of(self.process.pid)}"
        first = self.process.stdout.readline()
        expect(f"lab up: {first!r}", first.startswith("The network is up"))

    def do(self, command, *words, well=0):
        done = subprocess.run([self.program, "drill", command, self.directory, *words], capture_output=True, text=True, timeout=30)
        expect(f"lab {command} {words}: {done.returncode} {done.stderr}", done.returncode == well)
        return done.stdout + done.stderr

    def left(self):
        prefix = f"{run_id.PREFIX}{self.process.pid}-"
        return [n for n in netns.names() if n.startswith(prefix)] + \
            [pid for pid, run in run_id.processes().items() if run == self.run]

    def end(self, number):
        self.process.send_signal(number)
        said = self.process.stdout.read()
        return self.process.wait(timeout=30), said


def ends_well(bindir, root):
    """Ctrl-C and SIGTERM put everything back, also in the middle of faults."""
    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 2)):
        lab = Lab(bindir, os.path.join(root, "ended"))
        expect("it is the first", lab.do("fault", "router", "gw-nara", "down").startswith("1:"))
        lab.do("fault", "flap", "gw-hiroshima", "gw-kanazawa", "every", "2s")
        expect("both are listed", lab.do("broken").count("\n") == 2)
        expect("it says what exists", "gw-kanazawa" in lab.do("fault", "router", "x", "down", well=2))
        expect("there are numbers", "1, 2" in lab.do("undo", "7", well=2))
        expect("it is refused", "runs here" in second_network(bindir, lab.directory))
        ended = lab.end(number)[0]
        expect(f"ends with {ended}, not {code}", ended == code)
        expect(f"nothing is left after {number!r}: {lab.left()}", not lab.left())
        says("no network", ["no network"], lambda: net.Network.attach(lab.directory))
    try:
        with net.Network(topology.load(shipped("triangle")), os.path.join(root, "raised"), bindir):
            raise ZeroDivisionError
    except ZeroDivisionError:
        expect(f"nothing is left after an exception: {netns.names()}", not netns.names())
    step("Ctrl-C, SIGTERM and an exception leave nothing")


def second_network(bindir, directory):
    try:
        net.Network(topology.load(shipped("triangle")), directory, bindir).up()
    except Failure as e:
        return str(e)
    return "was taken"


def is_cleaned(bindir, root):
    """What kill -9 leaves, cleanup removes, and only that."""
    living, killed = Lab(bindir, os.path.join(root, "living")), Lab(bindir, os.path.join(root, "killed"))
    killed.do("fault", "flap", "gw-nara", "gw-kanazawa", "every", "2s")
    before = len(living.left())
    killed.end(signal.SIGKILL)
    expect("something is left", len(killed.left()) > 6)
    says("attach to a killed run", ["cleanup"], lambda: net.Network.attach(killed.directory))
    said = cleanup()
    expect(f"cleanup tells of it: {said}", any(f"process {killed.process.pid}," in s for s in said))
    expect(f"nothing is left of it: {killed.left()}", not killed.left())
    expect("the other one lives", len(living.left()) == before and
           f"process {living.process.pid}," not in str(said))
    again = Lab(bindir, os.path.join(root, "killed"))
    again.end(signal.SIGKILL)
    once_more = Lab(bindir, os.path.join(root, "killed"))    # over what is left, without a cleanup
    expect(f"what a killed run left goes with the next: {again.left()}", not again.left())
    for lab in (once_more, living):
        expect("it ends well", lab.end(signal.SIGINT)[0] == 0 and not lab.left())
    wait_for("nothing to clean up", lambda: not cleanup(), 5)
    step("cleanup removes what a killed run leaves, and only that")


def test(bindir, root):
    bad_files(root)
    for name in ("triangle", "access8", "national12"):
        comes_up(name, bindir, root)
    forwarder(bindir, root)
    try:
        ends_well(bindir, root)
        is_cleaned(bindir, root)
    finally:
        for lab in Lab.started:     # what a failure left
            lab.process.kill()
            lab.process.wait()
        cleanup()


sys.exit(guard.main(test))
