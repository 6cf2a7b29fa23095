"""A shell of a run in the background that outlives the command that started it; its pid is in a file, so that another
command can end it."""

import contextlib
import os
import signal
import subprocess

from . import run_id


def start(network, where, script, path, cwd="/"):
    process = network.popen(where, ["sh", "-c", script], cwd=cwd, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path, "w") as f:
        f.write(f"{process.pid}\n")


def end(network, path):
    """With all that it runs; nothing happens if there is none any more."""
    with contextlib.suppress(FileNotFoundError):
        with open(path) as f:
            pid = int(f.read())
        if run_id.processes().get(pid) == network.run:
            os.killpg(pid, signal.SIGKILL)
            run_id.kill([pid])
        os.unlink(path)
