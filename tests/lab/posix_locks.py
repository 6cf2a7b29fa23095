"""fcntl, open file description and flock locks."""

import errno
import fcntl
import os
import struct

from cluster import wait_for
from posix_calls import Opened, expect, fails, write


def lock_range(fd, kind, start, length, wait=False):
    fcntl.lockf(fd, kind | (0 if wait else fcntl.LOCK_NB), length, start)


def locks_posix(a, b):
    """fcntl locks exclude over sites, by ranges, and go with the close."""
    write(f"{a}/f", b"x" * 100)
    fa, fb = os.open(f"{a}/f", os.O_RDWR), os.open(f"{b}/f", os.O_RDWR)
    lock_range(fa, fcntl.LOCK_EX, 0, 10)
    fails(errno.EAGAIN, "the same range elsewhere", elsewhere, f"{b}/f", fcntl.LOCK_EX, 5, 10)
    elsewhere(f"{b}/f", fcntl.LOCK_EX, 10, 10)
    lock_range(fa, fcntl.LOCK_SH, 0, 10)
    elsewhere(f"{b}/f", fcntl.LOCK_SH, 0, 10)
    who = struct.unpack("hhqqi4x", fcntl.fcntl(fb, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 3, 4, 0)))
    expect("F_GETLK elsewhere", who[:4], (fcntl.F_RDLCK, 0, 0, 10))
    os.close(os.open(f"{a}/f", os.O_RDONLY))  # POSIX: any close of the file drops them
    elsewhere(f"{b}/f", fcntl.LOCK_EX, 0, 10)
    os.close(fa)
    os.close(fb)


def elsewhere(path, kind, start, length):
    """Takes and drops a lock as another process; its errno is raised here."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            with Opened(path, os.O_RDWR) as fd:
                lock_range(fd, kind, start, length)
        except OSError as e:
            code = e.errno
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def locks_ofd(a, b):
    """Open file description locks (QEMU's) go with the last close of the description."""
    F_OFD_SETLK = 37
    write(f"{a}/f", b"x")
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    fa, fb = os.open(f"{a}/f", os.O_RDWR), os.open(f"{b}/f", os.O_RDWR)
    fcntl.fcntl(fa, F_OFD_SETLK, whole)
    fails(errno.EAGAIN, "elsewhere", fcntl.fcntl, fb, F_OFD_SETLK, whole)
    same = os.open(f"{a}/f", os.O_RDWR)
    fails(errno.EAGAIN, "another description of the same process", fcntl.fcntl, same, F_OFD_SETLK, whole)
    os.close(same)
    os.close(fa)
    wait_for("the lock of a closed description to go", lambda: granted(fb, F_OFD_SETLK, whole), 5)
    os.close(fb)


def granted(fd, how, lock):
    try:
        fcntl.fcntl(fd, how, lock)
        return True
    except OSError as e:
        if e.errno != errno.EAGAIN:
            raise
        return False


def locks_flock(a, b):
    write(f"{a}/f", b"x")
    fa, fb = os.open(f"{a}/f", os.O_RDWR), os.open(f"{b}/f", os.O_RDWR)
    fcntl.flock(fa, fcntl.LOCK_SH)
    fcntl.flock(fb, fcntl.LOCK_SH)
    fails(errno.EAGAIN, "exclusive over shared", fcntl.flock, fb, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(fa, fcntl.LOCK_UN)
    fcntl.flock(fb, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fails(errno.EAGAIN, "over exclusive", fcntl.flock, fa, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(fb)
    fcntl.flock(fa, fcntl.LOCK_EX)
    os.close(fa)


def locks_many(a, b):
    """There may be 1,024 on a file, of all sites together."""
    write(f"{a}/f", b"")
    with Opened(f"{a}/f", os.O_RDWR) as here, Opened(f"{b}/f", os.O_RDWR) as there:
        for n in range(1024):
            lock_range(here if n % 2 else there, fcntl.LOCK_EX, 10 * n, 5)
        fails(errno.ENOLCK, "one lock more", lock_range, here, fcntl.LOCK_EX, 20000, 1)
        fails(errno.ENOLCK, "a lock made two", fcntl.lockf, there, fcntl.LOCK_UN, 1, 2)
        fcntl.lockf(there, fcntl.LOCK_UN, 5, 0)
        lock_range(here, fcntl.LOCK_EX, 20000, 1)


def hold_and_want(mount, mine, other, ready, go):
    """Holds a lock on one file until it has one on the other; its errno."""
    with Opened(f"{mount}/{mine}", os.O_RDWR) as held, Opened(f"{mount}/{other}", os.O_RDWR) as wanted:
        lock_range(held, fcntl.LOCK_EX, 0, 1)
        os.write(ready, b".")
        os.read(go, 1)
        try:
            lock_range(wanted, fcntl.LOCK_EX, 0, 1, wait=True)
        except OSError as e:
            return e.errno
        return 0


def locks_deadlock(a, b):
    """Three processes on two sites, each waits for the lock of the next one: one of them is told, and the
    others go on."""
    children, go, (ready, said) = [], [os.pipe() for _ in range(3)], os.pipe()
    for name in "xyz":
        write(f"{a}/{name}", b"")
    for n, mount in enumerate((a, b, a)):
        children.append(os.fork())
        if children[-1] == 0:
            os._exit(hold_and_want(mount, "xyz"[n], "xyz"[(n + 1) % 3], said, go[n][0]))
    for _ in children:
        os.read(ready, 1)
    for _, end in go:
        os.write(end, b".")
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    expect("their errors", sorted(codes), [0, 0, errno.EDEADLK])
    for fd in (ready, said, *sum(go, ())):
        os.close(fd)


CALLS = [locks_posix, locks_ofd, locks_flock, locks_many, locks_deadlock]
