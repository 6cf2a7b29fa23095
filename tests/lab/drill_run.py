#!/usr/bin/env python3
"""Drills as a person runs them: `distcloud drill run` with the shipped ones, bad ones, interrupted and killed ones.

usage: drill_run.py BINDIR DIRECTORY [DRILL...]

Of the shipped drills those of the field trial are run three times each (ROUNDS=100 for more), the others once."""

import json
import os
import signal
import subprocess
import sys
import time

from cluster import Failure, wait_for
from drill import drillfile, guard, netns, run_id
from drill.cleanup import cleanup
from drill.guard import expect, says, step

HERE = os.path.dirname(os.path.abspath(__file__))
DRILLS = os.path.join(HERE, "drill", "drills")
SHIPPED = {"hiroshima-cut": 3, "read-through-cut": 3, "nagoya-otemachi": 3, "site-cut-10ms": 1, "site-cut-30ms": 1,
           "own-site-cut": 1}
GOOD = """
[drill]
title = small
topology = {topologies}/triangle.conf
length = 4s
settle = 0.5s
[writer one]
site = nara
[event cut]
at = 1s
for = 2s
do = interface gw-hiroshima all down
[expect]
it goes on = gap one under 2s
"""


def command(bindir, *words):
    return [os.path.join(bindir, "distcloud"), "drill", *words]


def carry_out(bindir, root, name, rounds):
    """It ends as expected, says so, and leaves a report and nothing else."""
    directory = os.path.join(root, name)
    began = time.monotonic()
    done = subprocess.run(command(bindir, "run", name, "--directory", directory, "--rounds", str(rounds)), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = [line for line in done.stdout.split("\n") if line.startswith(("ok", "FAILED", "As ", "NOT "))]
    if done.returncode != 0:
        raise Failure(f"{name} ended with {done.returncode}:\n{done.stdout}")
    with open(os.path.join(directory, "report", "result.json")) as f:
        result = json.load(f)
    expect(f"{name}: the result is well, of {rounds} rounds", result["well"] and len(result["rounds"]) == rounds)
    for wanted in ("report.html", "timeline.svg", "raw/samples.json", "raw/snapshots.json"):
        expect(f"{name}: {wanted} is there", os.path.getsize(os.path.join(directory, "report", wanted)) > 0)
    nothing_left(name)
    print("\n".join(said), flush=True)
    step(f"{name}: {rounds} rounds in {time.monotonic() - began:.0f} s")


def nothing_left(what):
    expect(f"no namespace is left of {what}: {netns.names()}", not netns.names())
    expect(f"no process is left of {what}", not run_id.processes())
    with open("/proc/self/mounts") as f:
        left = [line for line in f if "fuse.distcloud" in line]
    expect(f"no mount is left of {what}: {left}", not left)


def bad_files(root, good):
    """Each is refused with file, line, and what to write."""
    path = os.path.join(root, "bad.drill")
    cases = [
        ("no drill", "[writer x]\nsite = nara\n", ["bad.drill:1:", "[drill]"]),
        ("an unknown section", good + "[vm x]\n", ["[vm x]", "[writer NAME]"]),
        ("an unknown site", good.replace("site = nara", "site = kobe"), ["site kobe", "hiroshima"]),
        ("an unknown router", good.replace("gw-hiroshima", "gw-kobe"), ["bad.drill:12:", "gw-kobe", "gw-nara"]),
        ("an unknown fault", good.replace("do = interface", "do = explode"), ["explode", "interface, loss"]),
        ("an unknown worker", good.replace("gap one", "gap two"), ["worker two", "one"]),
        ("an unknown expectation", good.replace("gap one", "hope one"), ["hope", "gap, still"]),
        ("an expectation that does not fit", good.replace("under 2s", "under 2"), ["unit", "gap WORKER under TIME"]),
        ("an event behind the round", good.replace("for = 2s", "for = 9s"), ["within the round of 4s"]),
        ("no topology", good.replace("triangle.conf", "square.conf"), ["square.conf", "cannot be read"]),
        ("a reader of nothing", good + "[reader r]\nsite = nara\nof = two\n", ["writer or file two", "one"]),
        ("a name twice", good + "[writer one]\nsite = nara\n", ["one already"]),
        ("nobody who works", good.replace("[writer one]\nsite = nara\n", "").replace("gap one under", "gap x under"),
         ["somebody who works"]),
        ("an endless round", good.replace("length = 4s", "length = 99999min"), ["1s to 1440min"]),
        ("a key that is none", good.replace("site = nara", "site = nara\nspeed = 3"), ["no key speed", "site"]),
    ]
    for what, text, words in cases:
        with open(path, "w") as f:
            f.write(text)
        says(what, words, lambda: drillfile.load(path))
    step("senseless drills are refused")


def start(bindir, path, directory):
    process = subprocess.Popen(command(bindir, "run", path, "--directory", directory), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "cut: interface" in line:
            return process
    raise Failure(f"{path}: the event did not begin")


def interrupted(bindir, root, path):
    """Ctrl-C in the middle of a fault: all is put back, and there is a report of what was."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 2)):
        directory = os.path.join(root, "interrupted")
        process = start(bindir, path, directory)
        time.sleep(0.5)
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
        expect(f"{number!r} ends it with {process.returncode}, not {code}: {said}", process.returncode == code)
        nothing_left(repr(number))
        with open(os.path.join(directory, "report", "result.json")) as f:
            expect("the report says that it ended early", json.load(f)["ended_early"])
    step("Ctrl-C and SIGTERM put everything back")


def killed(bindir, root, path):
    """kill -9: cleanup removes servers, workers, namespaces and mounts; so does the next run in its place."""
    directory = os.path.join(root, "killed")
    for how in ("cleanup", "the next run"):
        process = start(bindir, path, directory)
        process.kill()
        process.wait()
        expect("something is left", netns.names() and run_id.processes())
        if how == "cleanup":
            expect("cleanup tells", cleanup())
        else:
            done = subprocess.run(command(bindir, "run", path, "--directory", directory), capture_output=True, text=True)
            expect(f"the next run is well: {done.stdout} {done.stderr}", done.returncode == 0)
        wait_for(f"nothing to be left after {how}", lambda: not run_id.processes(), 10)
        nothing_left(how)
    step("what a killed drill leaves is removed")


def fails(bindir, root, good):
    """A drill whose expectation is not met says so: it can fail."""
    path = os.path.join(root, "fails.drill")
    with open(path, "w") as f:
        f.write(good.replace("under 2s", "under 1ms"))
    done = subprocess.run(command(bindir, "run", path, "--directory", os.path.join(root, "fails")), capture_output=True,
                          text=True)
    expect(f"it ends with 1: {done.returncode}", done.returncode == 1)
    expect("it says which", "FAILED  it goes on: longest gap" in done.stdout and "NOT as expected" in done.stdout)
    step("what is not as expected is told")


def test(bindir, root):
    wanted = sys.argv[3:]
    rounds = os.environ.get("ROUNDS")
    if not wanted:
        good = GOOD.format(topologies=os.path.join(HERE, "drill", "topologies"))
        bad_files(root, good)
        path = os.path.join(root, "small.drill")
        with open(path, "w") as f:
            f.write(good)
        interrupted(bindir, root, path)
        killed(bindir, root, path)
        fails(bindir, root, good)
    for name in wanted or SHIPPED:
        carry_out(bindir, root, name, int(rounds) if rounds else SHIPPED.get(name, 1))


sys.exit(guard.main(test))
