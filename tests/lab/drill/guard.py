"""The frame of the tests of the drills: a network, mounts and names of namespaces of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time

import isolate
from cluster import Failure, on_terminated

from . import netns, run_id


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


def step(text):
    print(text, flush=True)


def main(test):
    """Runs test(bindir, root) with the arguments of the command line; says ok or what failed."""
    bindir, root = map(os.path.abspath, sys.argv[1:3])
    began = time.monotonic()
    signal.signal(signal.SIGTERM, on_terminated)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    try:
        isolate.isolate()
        os.makedirs(netns.DIRECTORY, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", netns.DIRECTORY], check=True)
        test(bindir, root)
        expect(f"no namespace is left: {netns.names()}", not netns.names())
        left = [pid for pid, run in run_id.processes().items() if run == run_id.new()]
        expect(f"no process is left: {left}", not left)
    except (Failure, OSError, subprocess.SubprocessError) as e:
        print(f"FAILED: {e}", file=sys.stderr)
        return 1
    print(f"ok, {time.monotonic() - began:.0f} s")
    shutil.rmtree(root)
    return 0
