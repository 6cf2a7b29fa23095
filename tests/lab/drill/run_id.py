"""Whose a run is. Its namespaces are called dc-PID-NAME after the process that owns it; each of its
processes has the run's id in its environment, also those that have left the namespaces' names behind."""

import os
import signal
import time

PREFIX = "dc-"
VARIABLE = "DISTCLOUD_DRILL"


def start_of(pid):
    """When the process began, in ticks since the machine did; 0: there is none."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def new():
    """The id of a run that this process owns: PID.START, so that a pid used again is another owner."""
    return f"{os.getpid()}.{start_of(os.getpid())}"


def owner_lives(run):
    """run: an id, or a bare pid where only that is known."""
    pid, _, start = run.partition(".")
    began = start_of(int(pid))
    return began != 0 and (not start or int(start) == began)


def environment(run, base=None):
    return {**(os.environ if base is None else base), VARIABLE: run}


def processes():
    """{pid: run id} of all processes that any run has started."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                for pair in f.read().split(b"\0"):
                    if pair.startswith(VARIABLE.encode() + b"="):
                        found[int(pid)] = pair.partition(b"=")[2].decode(errors="replace")
        except OSError:
            pass
    return found


def kill(pids, seconds=10):
    """Ends processes at once and waits until they are gone; those that are not."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    end = time.monotonic() + seconds
    left = [pid for pid in pids if start_of(pid)]
    while left and time.monotonic() < end:
        time.sleep(0.02)
        left = [pid for pid in left if start_of(pid)]
    return left
