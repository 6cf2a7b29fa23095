"""Which call moves which time, setting times, and what statx tells beside them."""

import ctypes
import errno
import os
import time

from posix_calls import (Opened, PAGE, RENAME_EXCHANGE, as_user, checked, expect, fails, libc,
                         renameat2, write)

NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
LAST = 9223372035  # times are signed nanoseconds since 1970: 1677 to 2262


def moved(what, path, elsewhere, want, call):
    """call() moves just the times named in want ("mc": mtime and ctime), for both sites."""
    before = os.stat(path)
    time.sleep(0.002)
    call()
    for at in (path, elsewhere):
        after = os.stat(at)
        got = "".join(k for k, then, now in (("m", before.st_mtime_ns, after.st_mtime_ns),
                                             ("c", before.st_ctime_ns, after.st_ctime_ns))
                      if then != now)
        expect(f"times that {what} moves", got, want)
        expect(f"{what}: none goes back", after.st_ctime_ns >= before.st_ctime_ns, True)


def times_of_data(a, b):
    write(f"{a}/f", bytes(3 * PAGE))
    with Opened(f"{a}/f", os.O_RDWR) as fd, Opened(f"{b}/f", os.O_RDWR) as other:
        for what, want, call in (
                ("read", "", lambda: os.pread(fd, 10, 0)),
                ("write", "mc", lambda: os.pwrite(fd, b"x", 0)),
                ("write of nothing", "", lambda: os.pwrite(fd, b"", 0)),
                ("write elsewhere", "mc", lambda: os.pwrite(other, b"y", 1)),
                ("fsync", "", lambda: os.fsync(fd)),
                ("ftruncate", "mc", lambda: os.ftruncate(fd, PAGE)),
                ("fallocate", "mc", lambda: os.posix_fallocate(fd, 0, 4 * PAGE)),
                ("lseek", "", lambda: os.lseek(fd, 0, os.SEEK_END)),
                ("truncate", "mc", lambda: os.truncate(f"{b}/f", 0))):
            moved(what, f"{a}/f", f"{b}/f", want, call)
        moved("O_TRUNC of an empty file", f"{a}/f", f"{b}/f", "mc",
              lambda: os.close(os.open(f"{a}/f", os.O_WRONLY | os.O_TRUNC)))


def times_of_attributes(a, b):
    write(f"{a}/f", b"x")
    f = f"{a}/f"
    for what, call in (("chmod", lambda: os.chmod(f, 0o600)),
                       ("chown", lambda: os.chown(f, 1, 1)),
                       ("link", lambda: os.link(f, f"{a}/g")),
                       ("rename", lambda: os.rename(f"{a}/g", f"{a}/h")),
                       ("unlink", lambda: os.unlink(f"{a}/h")),
                       ("setxattr", lambda: os.setxattr(f, "user.x", b"1")),
                       ("removexattr", lambda: os.removexattr(f, "user.x"))):
        moved(what, f, f"{b}/f", "c", call)
    moved("getxattr that finds none", f, f"{b}/f", "",
          lambda: fails(errno.ENODATA, "getxattr", os.getxattr, f, "user.x"))


def times_of_directories(a, b):
    """A change of its entries moves mtime and ctime of a directory; one within a file does not."""
    def touch(name):
        return lambda: os.close(os.open(f"{a}/d/{name}", os.O_CREAT | os.O_WRONLY, 0o644))

    os.mkdir(f"{a}/d")
    os.mkdir(f"{a}/e")
    for what, call in (("create", touch("f")),
                       ("mkdir", lambda: os.mkdir(f"{a}/d/d")),
                       ("symlink", lambda: os.symlink("x", f"{a}/d/s")),
                       ("mkfifo", lambda: os.mkfifo(f"{a}/d/p")),
                       ("link", lambda: os.link(f"{a}/d/f", f"{a}/d/l")),
                       ("rename within", lambda: os.rename(f"{a}/d/l", f"{a}/d/m")),
                       ("rename out of it", lambda: os.rename(f"{a}/d/m", f"{a}/e/m")),
                       ("rename into it", lambda: os.rename(f"{b}/e/m", f"{b}/d/m")),
                       ("exchange", lambda: renameat2(f"{a}/d/m", f"{a}/d/s", RENAME_EXCHANGE)),
                       ("unlink", lambda: os.unlink(f"{b}/d/m")),
                       ("rmdir", lambda: os.rmdir(f"{a}/d/d"))):
        moved(what, f"{a}/d", f"{b}/d", "mc", call)
    moved("a failing create", f"{a}/d", f"{b}/d", "",
          lambda: fails(errno.EEXIST, "mkdir", os.mkdir, f"{a}/d/f"))
    moved("open of what is there", f"{a}/d", f"{b}/d", "", touch("f"))
    moved("listing", f"{a}/d", f"{b}/d", "", lambda: os.listdir(f"{b}/d"))
    moved("a write into a file of it", f"{a}/d", f"{b}/d", "", lambda: write(f"{a}/d/f", b"y"))


def utimensat(path, atime, mtime, flags=0):
    spec = (ctypes.c_long * 4)(*atime, *mtime)
    checked(libc.utimensat(-100, path.encode(), spec, flags))


def utimens(a, b):
    """UTIME_NOW and UTIME_OMIT, times before 1970 and after 2038, of links; what is out of range."""
    write(f"{a}/f", b"x")
    os.symlink("f", f"{a}/s")
    utimensat(f"{a}/f", (5, 6), (7, 8))
    utimensat(f"{b}/f", (0, OMIT), (9, 1))
    expect("atime left out", (os.stat(f"{a}/f").st_atime_ns, os.stat(f"{a}/f").st_mtime_ns),
           (5000000006, 9000000001))
    before = time.time_ns() - 20_000_000
    utimensat(f"{b}/f", (0, NOW), (0, OMIT))
    st = os.stat(f"{a}/f")
    expect("atime now", before <= st.st_atime_ns <= time.time_ns(), True)
    expect("mtime left out", st.st_mtime_ns, 9000000001)
    for seconds in (-2147483648, -1, 1 << 31, LAST - 1):
        utimensat(f"{a}/f", (seconds, 999999999), (seconds, 1))
        st = os.stat(f"{b}/f")
        expect("times kept", (st.st_atime_ns, st.st_mtime_ns),
               (seconds * 10**9 + 999999999, seconds * 10**9 + 1))
    utimensat(f"{a}/f", (LAST + 1, 0), (1 << 40, 0))
    st = os.stat(f"{b}/f")
    expect("later ones are the last", (st.st_atime, st.st_mtime), (LAST, LAST))
    fails(errno.EINVAL, "too many nanoseconds", utimensat, f"{a}/f", (0, 10**9), (0, 0))
    utimensat(f"{a}/s", (1, 2), (3, 4), 0x100)
    expect("the link's own", os.lstat(f"{b}/s").st_mtime_ns, 3000000004)
    expect("not its target's", os.stat(f"{b}/s").st_mtime_ns, st.st_mtime_ns)


def utimens_rights(a, b):
    """Who may write may set times to now; only the owner may set others (POSIX, futimens)."""
    write(f"{a}/f", b"x")
    os.chmod(f"{a}/f", 0o666)
    os.chmod(a, 0o755)
    as_user(1000, 1000, [], utimensat, f"{b}/f", (0, NOW), (0, NOW))
    fails(errno.EPERM, "times by another", as_user, 1000, 1000, [], utimensat, f"{b}/f", (1, 1), (1, 1))
    fails(errno.EPERM, "now and left out", as_user, 1000, 1000, [], utimensat, f"{b}/f", (0, NOW), (0, OMIT))
    as_user(1000, 1000, [], utimensat, f"{b}/f", (0, OMIT), (0, OMIT))
    os.chmod(f"{b}/f", 0o644)
    fails(errno.EACCES, "now by who may not write", as_user, 1000, 1000, [], utimensat, f"{a}/f",
          (0, NOW), (0, NOW))
    os.chown(f"{a}/f", 1000, 1000)
    time.sleep(1)  # b's kernel checks with the owner it knows, for as long as its name is valid there
    as_user(1000, 1000, [], utimensat, f"{b}/f", (1, 1), (1, 1))
    os.chown(f"{a}/f", 0, 0)
    time.sleep(1)
    fails(errno.EPERM, "times by who was the owner", as_user, 1000, 1000, [], utimensat, f"{b}/f",
          (1, 1), (1, 1))


CALLS = [times_of_data, times_of_attributes, times_of_directories, utimens, utimens_rights]
