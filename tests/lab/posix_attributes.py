"""Attributes: modes, owners, times, extended ones, and those of the file system."""

import errno
import os
import stat
import struct
import time

from cluster import run
from posix_calls import Opened, PAGE, expect, fails, pattern, read, write


def attributes(a, b):
    """chmod, chown and times of one site are the other's."""
    write(f"{a}/f", b"x")
    os.chmod(f"{a}/f", 0o4751)
    expect("mode", stat.S_IMODE(os.stat(f"{b}/f").st_mode), 0o4751)
    os.chown(f"{b}/f", 12, 34)
    st = os.stat(f"{a}/f")
    expect("owner", (st.st_uid, st.st_gid), (12, 34))
    os.utime(f"{a}/f", ns=(1234567890123456789, 987654321098765432))
    st = os.stat(f"{b}/f")
    expect("times", (st.st_atime_ns, st.st_mtime_ns), (1234567890123456789, 987654321098765432))
    before = st.st_ctime_ns
    os.chmod(f"{b}/f", 0o600)
    expect("chmod moves ctime", os.stat(f"{a}/f").st_ctime_ns > before, True)
    write(f"{b}/f", b"y", "ab")
    expect("a write moves mtime", os.stat(f"{a}/f").st_mtime_ns > 987654321098765432, True)


def suid(a, b):
    """A write takes setuid and setgid away, by an unprivileged process."""
    write(f"{a}/f", b"x")
    os.chmod(f"{a}/f", 0o6777)
    run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c", f"printf y >> {b}/f"])
    expect("mode after a write", stat.S_IMODE(os.stat(f"{a}/f").st_mode), 0o777)
    expect("bytes", read(f"{a}/f"), b"xy")


def suid_recall(a, b):
    """A write that takes setuid away while its file is recalled: the recall waits for the page that
    the write (of a part of one that is not cached) holds, so the write must not wait for it."""
    write(f"{a}/f", pattern(PAGE))
    os.chmod(f"{a}/f", 0o4777)
    go, told = os.pipe(), os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(go[1])
        suid_writer(f"{a}/f", go[0], told[1])
    os.close(go[0])
    os.close(told[1])
    longest = 0
    with Opened(f"{b}/f", os.O_RDWR) as fd:
        for i in range(150):
            os.write(go[1], struct.pack("d", 0))
            expect("the writer's answer", len(os.read(told[0], 8)), 8)  # the file is held by a now
            os.chmod(f"{a}/f", 0o4777)
            os.write(go[1], struct.pack("d", i % 30 * 50e-6))
            os.pwrite(fd, b"y" * 100, 10)
            longest = max(longest, struct.unpack("d", os.read(told[0], 8) or bytes(8))[0])
            expect("setuid after a write", os.stat(f"{b}/f").st_mode & 0o4000, 0)
    os.close(go[1])
    expect("the writer's end", os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]), 0)
    expect(f"the longest of the writes ({longest:.2f} s) under 2 s", longest < 2, True)


def suid_writer(path, go, told):
    """Writes as an ordinary user after each pause it is told, and tells how long the write took."""
    try:
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        fd = os.open(path, os.O_RDWR)
        while len(pause := os.read(go, 8)) == 8:
            time.sleep(struct.unpack("d", pause)[0])
            began = time.monotonic()
            os.pwrite(fd, b"x" * 100, 10)
            os.write(told, struct.pack("d", time.monotonic() - began))
        os._exit(0)
    except OSError as e:
        os._exit(e.errno)


def xattrs(a, b):
    write(f"{a}/f", b"x")
    os.setxattr(f"{a}/f", "user.one", b"value")
    os.setxattr(f"{b}/f", "user.big", pattern(60000))
    expect("value elsewhere", os.getxattr(f"{b}/f", "user.one"), b"value")
    expect("a large value", os.getxattr(f"{a}/f", "user.big"), pattern(60000))
    expect("names", sorted(os.listxattr(f"{b}/f")), ["user.big", "user.one"])
    fails(errno.EEXIST, "XATTR_CREATE of one", os.setxattr, f"{b}/f", "user.one", b"", os.XATTR_CREATE)
    fails(errno.ENODATA, "XATTR_REPLACE of none", os.setxattr, f"{b}/f", "user.no", b"", os.XATTR_REPLACE)
    fails(errno.ENODATA, "get of none", os.getxattr, f"{b}/f", "user.no")
    os.removexattr(f"{b}/f", "user.one")
    expect("removed", os.listxattr(f"{a}/f"), ["user.big"])
    fails(errno.ENODATA, "remove of none", os.removexattr, f"{a}/f", "user.one")


def statfs(a, b):
    sa, sb = os.statvfs(a), os.statvfs(b)
    expect("block size", (sa.f_bsize, sa.f_frsize), (PAGE, PAGE))
    expect("longest name", sa.f_namemax, 255)
    expect("the same size everywhere", sa.f_blocks, sb.f_blocks)
    expect("free space", 0 < sa.f_bavail <= sa.f_blocks, True)


CALLS = [attributes, suid, suid_recall, xattrs, statfs]
