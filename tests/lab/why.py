#!/usr/bin/env python3
"""`distcloud why` says what is wrong with a file: nothing; a holder that is gone; handles that were lost, since when
and to whom; replicas out of reach.

usage: why.py BINDIR DIRECTORY
"""

import contextlib
import errno
import os
import signal
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for

SESSION = 5.0


def why(cluster, path, code, *words):
    """The command ends with the code and says all the words."""
    said = cluster.distcloud("why", path, well=(code,))
    for word in words:
        if word not in said:
            raise Failure(f"why {path} does not say {word!r}:\n{said}")
    return said


def put(fd, text):
    os.pwrite(fd, text, 0)
    os.fsync(fd)


def lost_handle(cluster):
    """Its server is stopped for longer than its session, and another site writes meanwhile."""
    a, b = cluster.sites[:2]
    mine, other = (cluster.of("access", site)[0] for site in (a, b))
    fd = os.open(f"{cluster.mount(a)}/disk", os.O_RDWR | os.O_CREAT)
    put(fd, b"first")
    why(cluster, "/disk", 0, f"access server {mine.id} in {a} holds it for writing", "nothing is wrong")
    mine.signal(signal.SIGSTOP)
    try:
        with open(f"{cluster.mount(b)}/disk", "r+b", buffering=0) as f:
            put(f.fileno(), b"second")
    finally:    # no program can be started before: it would close its copy of fd, and wait for that
        mine.signal(signal.SIGCONT)
    taken = time.monotonic()
    wait_for("the handle to be lost", lambda: fails(fd), 30)
    wait_for("why to say so", lambda: "open handles give EIO" in cluster.distcloud("why", "/disk", well=(0, 1)), 10)
    said = why(cluster, "/disk", 1, f"access server {mine.id} in {a} lost it", f"(access server {other.id})",
               "1 open handles give EIO", "end or restart")
    ago = float(said.split("lost it ")[1].split(" s ago")[0])
    if ago > time.monotonic() - taken + 1:
        raise Failure(f"it was lost at most {time.monotonic() - taken:.1f} s ago:\n{said}")
    with contextlib.suppress(OSError):  # it says the same error again
        os.close(fd)
    wait_for("the closed handle to be gone", lambda: "no handle of then" in cluster.distcloud("why", "/disk"), 10)
    with open(f"{cluster.mount(a)}/disk", "rb") as f:
        if f.read() != b"second":
            raise Failure("a new handle reads something else")
    print("a lost handle, and who has the file", flush=True)


def fails(fd):
    try:
        os.pwrite(fd, b"again", 0)
    except OSError as e:
        if e.errno != errno.EIO:
            raise
        return True
    raise Failure("a write through a lost handle was taken")


def out_of_reach(cluster):
    """One site's core servers die, then another's; then a holder."""
    a, b, c = cluster.sites
    with open(f"{cluster.mount(a)}/disk2", "wb") as f:
        put(f.fileno(), b"x")
    for core in cluster.of("core", b):
        core.kill()
    core = cluster.of("core", b)[0]
    wait_for("why to miss a core server", lambda: f"core server {core.id} in {b} is" in
             cluster.distcloud("why", "/disk2", well=(0, 1)), 3 * SESSION)
    why(cluster, f"{cluster.mount(a)}/disk2", 1, "start it", "it can be read and written")
    for core in cluster.of("core", c):
        core.kill()
    wait_for("why to call it out of reach", lambda: "fewer than two of its replicas" in
             cluster.distcloud("why", "/disk2", well=(0, 1)), 3 * SESSION)
    for core in cluster.of("core", b) + cluster.of("core", c):
        core.start()
    wait_for("all to be well", lambda: "nothing is wrong" in cluster.distcloud("why", "/disk2", well=(0, 1)), 60)
    print("replicas out of reach, and back", flush=True)

    fd = os.open(f"{cluster.mount(a)}/disk3", os.O_RDWR | os.O_CREAT)
    put(fd, b"x")
    holder = cluster.of("access", a)[0]
    holder.kill()
    wait_for("why to tell of the dead writer", lambda: "that server has no session" in
             cluster.distcloud("why", "/disk3", well=(0, 1)), 4 * SESSION)
    why(cluster, "/disk3", 1, f"access server {holder.id} in {a} holds it for writing", "others have the file")
    with open(f"{cluster.mount(b)}/disk3", "rb") as f:
        if f.read() != b"x":
            raise Failure("what was synced is not there")
    why(cluster, "/disk3", 0, "nothing is wrong")
    print("a dead writer", flush=True)


def test(cluster):
    cluster.start()
    cluster.wait_healthy()
    lost_handle(cluster)
    out_of_reach(cluster)
    why(cluster, "/none", 2, "no such file or directory")
    why(cluster, "/", 0, "nothing is wrong")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], cores=1)))
