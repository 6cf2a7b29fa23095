#!/usr/bin/env python3
"""Signals: they end a wait only with the process; no call of a living one answers EINTR.

Programs that live on signals (timers of a runtime, QEMU) write to the same files from two sites
while the catalog hangs for a while. Then, with every server of the catalog's majority killed, a
process that waits can be killed, one that handles its signals waits on and finishes.

usage: signals.py BINDIR DIRECTORY
"""

import ctypes
import errno
import fcntl
import multiprocessing
import os
import signal
import struct
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for

libc = ctypes.CDLL(None, use_errno=True)  # Python's own calls repeat themselves after EINTR


def call(function, *args):
    """The bare libc call: its result, or the failure it reports."""
    rc = function(*args)
    if rc < 0:
        raise OSError(ctypes.get_errno(), f"{function.__name__}: {os.strerror(ctypes.get_errno())}")
    return rc


def on_signal(_number, _frame):
    pass


def work(directory, seconds, result):
    """Creates, writes, syncs, renames and removes under a shower of signals; puts what failed."""
    signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    end, rounds = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end:
            shared = call(libc.open, f"{directory}/shared".encode(), os.O_RDWR | os.O_CREAT, 0o644)
            call(libc.pwrite, shared, b"x" * 4096, 4096, ctypes.c_long(rounds % 16 * 4096))
            call(libc.fsync, shared)
            call(libc.close, shared)
            name = f"{directory}/{os.getpid()}".encode()
            call(libc.close, call(libc.open, name, os.O_RDWR | os.O_CREAT, 0o644))
            call(libc.rename, name, name + b".new")
            call(libc.unlink, name + b".new")
            rounds += 1
        result.put(rounds)
    except OSError as e:
        result.put(e)


def showered(cluster):
    """Two sites work on one directory while the leader of the catalog is paused for 1.5 s."""
    os.mkdir(f"{cluster.mount(cluster.sites[0])}/showered")
    result = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(f"{cluster.mount(s)}/showered", 5, result))
               for s in cluster.sites[:2]]
    for w in workers:
        w.start()
    time.sleep(1)
    leader = wait_for("a leader", cluster.leader, 10)
    leader.signal(signal.SIGSTOP)
    time.sleep(1.5)
    leader.signal(signal.SIGCONT)
    outcomes = [result.get(timeout=60) for _ in workers]
    for w in workers:
        w.join()
    for o in outcomes:
        if isinstance(o, OSError):
            raise Failure(f"a call failed under signals that its process handles: {o}")
    print(f"no call failed in {sum(outcomes)} rounds under signals", flush=True)


def wait_in_write(path, handle):
    """Waits in write(2) for a cluster that is fenced; exits with 0 when it went through."""
    if handle:
        for number in (signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the test itself handles it
    fd = os.open(path, os.O_RDWR)
    call(libc.pwrite, fd, b"y" * 4096, 4096, ctypes.c_long(0))
    call(libc.fsync, fd)
    os._exit(0)


def wait_for_lock(path, result):
    signal.signal(signal.SIGALRM, on_signal)
    fd = os.open(path, os.O_RDWR)
    signal.alarm(2)
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    rc = libc.fcntl(fd, fcntl.F_SETLKW, lock)
    result.put(ctypes.get_errno() if rc < 0 else 0)


def lock_interrupted(cluster):
    """A wait for a lock ends with EINTR at any signal, as POSIX has it."""
    path = f"{cluster.mount(cluster.sites[0])}/locked"
    with open(path, "w") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        result = multiprocessing.Queue()
        waiter = multiprocessing.Process(
            target=wait_for_lock, args=(f"{cluster.mount(cluster.sites[1])}/locked", result))
        waiter.start()
        got = result.get(timeout=30)
        waiter.join()
    if got != errno.EINTR:
        raise Failure(f"a wait for a lock ended with {os.strerror(got) if got else 'the lock'}, not EINTR")
    print("a wait for a lock ends at a signal", flush=True)


def alive(process):
    process.join(0)
    return process.is_alive()


def killed_while_fenced(cluster):
    home = cluster.mount(cluster.sites[0])
    waiters = {}
    for name in ("ends", "killed", "handles"):
        open(f"{home}/{name}", "w").close()
    hints = cluster.of("hint")[1:]
    for s in hints:
        s.kill()
    time.sleep(7)  # longer than a session is good: everything waits now
    for name in ("ends", "killed", "handles"):
        waiters[name] = multiprocessing.Process(target=wait_in_write, args=(f"{home}/{name}", name != "ends"))
        waiters[name].start()
    time.sleep(1)
    if not all(alive(w) for w in waiters.values()):
        raise Failure("a write without a session was answered")
    for name, number in (("ends", signal.SIGTERM), ("killed", signal.SIGKILL), ("handles", signal.SIGTERM)):
        os.kill(waiters[name].pid, number)
    for name in ("ends", "killed"):
        wait_for(f"a waiting process to die of its signal ({name})", lambda: not alive(waiters[name]), 5)
    if not alive(waiters["handles"]):
        raise Failure("a signal that was handled ended a write")
    for s in hints:
        s.start()
    wait_for("the write that waited to be done", lambda: not alive(waiters["handles"]), 30)
    if waiters["handles"].exitcode != 0:
        raise Failure(f"the write that waited ended with {waiters['handles'].exitcode}")
    cluster.wait_healthy(60)
    print("a waiting process can be killed, one that handles its signals waits on", flush=True)


def test(cluster):
    cluster.start()
    cluster.wait_healthy(30)
    showered(cluster)
    lock_interrupted(cluster)
    killed_while_fenced(cluster)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
