"""chmod, chown, access: who may, and what goes with it."""

import errno
import os
import stat

from posix_calls import Opened, as_user, checked, expect, fails, libc, mode_of, read, write

AT_FDCWD, AT_EACCESS = -100, 0x200


def chmod(a, b):
    """All 12 bits; only the owner and root; setgid only by who is in the group."""
    os.umask(0o022)
    write(f"{a}/f", b"")
    os.chown(f"{a}/f", 1000, 77)
    for mode in (0, 0o7777, 0o4000, 0o2000, 0o1000, 0o640):
        os.chmod(f"{a}/f", mode)
        expect("mode elsewhere", mode_of(f"{b}/f"), mode)
    ctime = os.stat(f"{a}/f").st_ctime_ns
    os.chmod(f"{b}/f", 0o640)
    expect("ctime moves even if nothing changes", os.stat(f"{a}/f").st_ctime_ns > ctime, True)
    as_user(1000, 1000, [77], os.chmod, f"{b}/f", 0o2755)
    expect("setgid by a member", mode_of(f"{a}/f"), 0o2755)
    as_user(1000, 1000, [], os.chmod, f"{b}/f", 0o2755)
    expect("setgid by another", mode_of(f"{a}/f"), 0o755)
    fails(errno.EPERM, "chmod of another's", as_user, 1001, 77, [], os.chmod, f"{b}/f", 0o777)
    with Opened(f"{b}/f", os.O_RDONLY) as fd:
        os.fchmod(fd, 0o604)
        expect("fchmod", mode_of(f"{a}/f"), 0o604)
        os.chmod(f"{a}/f", 0o000)
        expect("fstat of a chmod elsewhere", stat.S_IMODE(os.fstat(fd).st_mode), 0)
    os.mkdir(f"{a}/d")
    os.chown(f"{a}/d", 1000, 77)
    os.chmod(f"{a}/d", 0o2775)
    as_user(1000, 1000, [], os.chmod, f"{b}/d", 0o2755)
    expect("setgid of a directory by another", mode_of(f"{a}/d"), 0o755)
    fails(errno.ENOENT, "chmod of nothing", os.chmod, f"{b}/none", 0o644)
    os.symlink("f", f"{a}/l")
    os.chmod(f"{b}/l", 0o642)
    expect("through a link", (mode_of(f"{a}/f"), mode_of(f"{a}/l")), (0o642, 0o777))


def chown(a, b):
    """Owners change by root's word, groups by the owner's within his own; setuid and setgid go."""
    write(f"{a}/f", b"")
    os.chown(f"{a}/f", 1000, 1000)
    os.chown(f"{b}/f", -1, 4000000000)
    expect("-1 leaves the owner; a group over 2^31", (os.stat(f"{a}/f").st_uid, os.stat(f"{a}/f").st_gid),
           (1000, 4000000000))
    os.chown(f"{b}/f", 4294967294, -1)
    expect("-1 leaves the group; the largest owner", (os.stat(f"{a}/f").st_uid, os.stat(f"{a}/f").st_gid),
           (4294967294, 4000000000))
    os.chown(f"{a}/f", 1000, 1000)
    as_user(1000, 1000, [77], os.chown, f"{b}/f", -1, 77)
    expect("to a group of the owner's", os.stat(f"{a}/f").st_gid, 77)
    as_user(1000, 1000, [77], os.chown, f"{b}/f", 1000, 1000)
    for what, uid, gid in (("to another owner", 1001, -1), ("to a group not the owner's", -1, 78)):
        fails(errno.EPERM, what, as_user, 1000, 1000, [77], os.chown, f"{b}/f", uid, gid)
    fails(errno.EPERM, "of another's", as_user, 1001, 1000, [], os.chown, f"{b}/f", -1, 1000)
    for who, mode, kept in ((0, 0o6755, 0o755), (1000, 0o6755, 0o755), (0, 0o6745, 0o2745), (0, 0o6711, 0o711)):
        os.chmod(f"{a}/f", mode)
        ctime = os.stat(f"{a}/f").st_ctime_ns
        if who:
            as_user(who, who, [77], os.chown, f"{b}/f", -1, 77)
        else:
            os.chown(f"{b}/f", 1000, 1000)
        expect(f"of {mode:o} by {who}", mode_of(f"{a}/f"), kept)
        expect("ctime moves", os.stat(f"{a}/f").st_ctime_ns > ctime, True)
    os.mkdir(f"{a}/d")
    os.chmod(f"{a}/d", 0o6755)
    os.chown(f"{b}/d", 1000, 1000)
    expect("a directory keeps them", mode_of(f"{a}/d"), 0o6755)
    before = os.stat(f"{a}/f")
    os.chown(f"{b}/f", -1, -1)
    after = os.stat(f"{a}/f")
    expect("-1, -1 leaves both", (after.st_uid, after.st_gid), (before.st_uid, before.st_gid))


def setid_kept_fresh(a, b):
    """What takes setuid away must see the mode as another site set it a moment ago, through handles
    that were open before; setgid without group execution is no such right and stays."""
    write(f"{a}/f", b"x" * 10)
    os.chmod(f"{a}/f", 0o666)
    fd = os.open(f"{b}/f", os.O_RDWR)
    ways = (("write", lambda: os.pwrite(fd, b"y", 0)), ("ftruncate", lambda: os.ftruncate(fd, 5)),
            ("append", lambda: append(f"{b}/f")), ("open to truncate", lambda: emptied(f"{b}/f")),
            ("fallocate", lambda: os.posix_fallocate(fd, 0, 100)))
    for what, change in ways:
        for mode, kept in ((0o6777, 0o777), (0o4766, 0o766), (0o2767, 0o2767), (0o2777, 0o777), (0o6766, 0o2766)):
            as_user(1000, 0, [], change)
            os.chmod(f"{a}/f", mode)
            as_user(1000, 0, [], change)
            if what == "fallocate" and mode_of(f"{a}/f") == mode:
                continue
            expect(f"of {mode:o} after {what}", oct(mode_of(f"{a}/f")), oct(kept))
            os.chmod(f"{a}/f", mode)
            change()
            expect(f"of {mode:o} after root's {what}", oct(mode_of(f"{b}/f")), oct(mode))
    os.close(fd)


def append(path):
    with Opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"z")


def emptied(path):
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def faccessat(path, mode, flags=0):
    checked(libc.faccessat(AT_FDCWD, path.encode(), mode, flags))


def access(a, b):
    """access by owner, group and others, by real and effective ids; root may all but run what nobody
    may; groups of a list of 100."""
    os.umask(0)
    write(f"{a}/f", b"x")
    os.chown(f"{a}/f", 1000, 77)
    groups = list(range(3000, 3100))
    for mode in (0o700, 0o070, 0o007, 0o421, 0o124, 0o000, 0o777):
        os.chmod(f"{a}/f", mode)
        for uid, gid, more, shift in ((1000, 1, [], 6), (1001, 77, [], 3), (1001, 1, [77], 3),
                                      (1001, 1, groups + [77], 3), (1001, 1, groups, 0), (1000, 77, [77], 6)):
            for want in range(1, 8):
                ok = (mode >> shift & want) == want
                (as_user if ok else lambda *x: fails(errno.EACCES, f"access {want} of {mode:o}", as_user, *x))(
                    uid, gid, more, faccessat, f"{b}/f", want)
    os.chmod(f"{a}/f", 0o600)
    faccessat(f"{b}/f", os.R_OK | os.W_OK)
    fails(errno.EACCES, "root, to run what nobody may", faccessat, f"{b}/f", os.X_OK)
    fails(errno.ENOENT, "nothing", faccessat, f"{b}/none", os.F_OK)
    os.mkdir(f"{a}/d", 0o750)
    os.chown(f"{a}/d", 0, 3099)
    write(f"{a}/d/x", b"in")
    as_user(1001, 1, groups, lambda: expect("read by the 100th group", read(f"{b}/d/x"), b"in"))
    fails(errno.EACCES, "a path through it by others", as_user, 1001, 1, groups[:99], os.stat, f"{b}/d/x")
    os.chmod(f"{a}/d", 0o705)
    fails(errno.EACCES, "the group has no right, others have", as_user, 1001, 1, groups, os.stat, f"{b}/d/x")
    os.chmod(f"{b}/d", 0o711)
    as_user(1002, 1, [], os.stat, f"{a}/d/x")
    fails(errno.EACCES, "listing what one may only pass", as_user, 1002, 1, [], os.listdir, f"{a}/d")
    os.umask(0o022)


CALLS = [chmod, chown, setid_kept_fresh, access]
