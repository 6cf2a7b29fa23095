#!/usr/bin/env python3
"""What system calls promise, on the mounts of two sites at once: done in one, seen in the other.

One function per call; each gets the same fresh directory through both mounts. All of them run, then
the failed ones are named.

usage: posix.py BINDIR DIRECTORY [FUNCTION...]
"""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import sys
import time
import traceback

from cluster import Cluster, Failure, main_guard, run, wait_for

PAGE = 4096
MIB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def expect(what, got, want):
    if got != want:
        raise Failure(f"{what}: {got!r}, expected {want!r}")


def fails(code, what, call, *args, **more):
    """call(*args) must fail with errno `code`."""
    try:
        call(*args, **more)
    except OSError as e:
        expect(f"{what} fails with", errno.errorcode.get(e.errno, e.errno), errno.errorcode[code])
        return
    raise Failure(f"{what} succeeds, expected {errno.errorcode[code]}")


def checked(rc):
    if rc < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return rc


def fallocate(fd, mode, off, length):
    checked(libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(length)))


def renameat2(old, new, flags):
    checked(libc.renameat2(-100, old.encode(), -100, new.encode(), flags))


def write(path, data, mode="wb"):
    with open(path, mode) as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def pattern(size, seed=1):
    piece = bytes((i * 31 + i // 251 + seed) & 255 for i in range(65536))
    return (piece * (size // 65536 + 1))[:size]


def blocks(path):
    return os.stat(path).st_blocks * 512


class Opened:
    """with Opened(path, flags) as fd: ..."""

    def __init__(self, path, flags, mode=0o644):
        self.fd = os.open(path, flags, mode)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


# --- open and its flags ---

def open_excl(a, b):
    """O_EXCL: one of two sites makes a name, the other gets EEXIST, whatever is there."""
    with Opened(f"{a}/f", os.O_CREAT | os.O_EXCL | os.O_WRONLY):
        fails(errno.EEXIST, "O_EXCL of what the other site made",
              os.open, f"{b}/f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.symlink("nowhere", f"{a}/dangling")
    fails(errno.EEXIST, "O_EXCL of a dangling link",
          os.open, f"{b}/dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def open_errors(a, b):
    os.mkdir(f"{a}/d")
    write(f"{a}/f", b"x")
    os.symlink("f", f"{a}/l")
    fails(errno.ENOENT, "open of nothing", os.open, f"{b}/none", os.O_RDONLY)
    fails(errno.EISDIR, "open of a directory to write", os.open, f"{b}/d", os.O_WRONLY)
    fails(errno.ENOTDIR, "O_DIRECTORY of a file", os.open, f"{b}/f", os.O_DIRECTORY)
    fails(errno.ENOTDIR, "a path through a file", os.open, f"{b}/f/x", os.O_RDONLY)
    fails(errno.ELOOP, "O_NOFOLLOW of a link", os.open, f"{b}/l", os.O_NOFOLLOW)
    fails(errno.ENAMETOOLONG, "a name of 256 bytes", os.open, f"{b}/{'n' * 256}", os.O_CREAT)
    write(f"{a}/{'n' * 255}", b"long")
    expect("a name of 255 bytes", read(f"{b}/{'n' * 255}"), b"long")
    with Opened(f"{b}/f", os.O_RDONLY) as fd:
        fails(errno.EBADF, "write to a file open to read", os.write, fd, b"x")
    with Opened(f"{b}/f", os.O_WRONLY) as fd:
        fails(errno.EBADF, "read of a file open to write", os.read, fd, 1)


def open_trunc(a, b):
    """O_TRUNC in one site: the other one's open file is empty at once."""
    write(f"{a}/f", pattern(3 * MIB))
    with Opened(f"{b}/f", os.O_RDWR) as fd:
        expect("before", len(os.pread(fd, 4 * MIB, 0)), 3 * MIB)
        os.close(os.open(f"{a}/f", os.O_WRONLY | os.O_TRUNC))
        expect("size after O_TRUNC elsewhere", os.fstat(fd).st_size, 0)
        expect("bytes after O_TRUNC elsewhere", os.pread(fd, PAGE, 0), b"")
        os.pwrite(fd, b"tail", MIB)
    expect("what was there does not come back", read(f"{a}/f"), bytes(MIB) + b"tail")


def open_append(a, b):
    """O_APPEND goes to the end as it is, in whatever site that was moved last."""
    with Opened(f"{a}/f", os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fa, \
            Opened(f"{b}/f", os.O_RDWR | os.O_APPEND) as fb:
        want = b""
        for i in range(10):
            for fd, mark in ((fa, b"A"), (fb, b"B")):
                os.write(fd, mark * (i + 1))
                want += mark * (i + 1)
        expect("appends of two sites in turn", os.pread(fb, 1000, 0), want)
        os.lseek(fb, 0, os.SEEK_END)
        os.write(fb, b"more")
        expect("position after an append", os.lseek(fb, 0, os.SEEK_CUR), len(want) + 4)
        want += b"more"
        fcntl.fcntl(fb, fcntl.F_SETFL, 0)
        os.pwrite(fb, b"#", 0)
        expect("without O_APPEND it writes where it says", read(f"{a}/f"), b"#" + want[1:])


def open_direct(a, b):
    """O_DIRECT and buffered I/O of two sites see each other's bytes, aligned or not."""
    buf = mmap.mmap(-1, 4 * PAGE)
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT | os.O_DIRECT) as fa, Opened(f"{b}/f", os.O_RDWR) as fb:
        buf[:] = pattern(4 * PAGE)
        expect("a direct write", os.pwritev(fa, [buf], PAGE), 4 * PAGE)
        expect("a buffered read of it", os.pread(fb, 4 * PAGE, PAGE), pattern(4 * PAGE))
        os.pwrite(fb, b"buffered", 2 * PAGE)
        expect("a direct read", os.preadv(fa, [buf], PAGE), 4 * PAGE)
        expect("of a buffered write", buf[PAGE:PAGE + 8], b"buffered")
        expect("a direct read at the end", os.preadv(fa, [buf], 4 * PAGE), PAGE)
        expect("a direct read behind it", os.preadv(fa, [buf], 8 * PAGE), 0)


def open_sync(a, b):
    """O_SYNC and O_DSYNC writes are what the other site reads."""
    for name, flag in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC)):
        with Opened(f"{a}/{name}", os.O_WRONLY | os.O_CREAT | flag) as fd:
            os.write(fd, b"one")
            expect(name, read(f"{b}/{name}"), b"one")
            os.write(fd, b"two")
            expect(name, read(f"{b}/{name}"), b"onetwo")


# --- data ---

def fsync(a, b):
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, pattern(5 * MIB))
        os.fsync(fd)
        os.pwrite(fd, b"x", 0)
        os.fdatasync(fd)
        expect("sync_file_range and the like leave it whole", read(f"{b}/f")[1:], pattern(5 * MIB)[1:])
    with Opened(a, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def read_write_ends(a, b):
    """Reads stop at the end, writes behind it leave zeros, sizes agree."""
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT) as fa, Opened(f"{b}/f", os.O_RDWR) as fb:
        expect("a read of nothing", os.pread(fb, 10, 0), b"")
        os.pwrite(fa, b"end", 10000)
        expect("a read over the end", os.pread(fb, 100, 9998), bytes(2) + b"end")
        expect("the hole before it", os.pread(fb, 10000, 0), bytes(10000))
        os.pwrite(fb, b"", 20000)
        expect("an empty write moves nothing", os.fstat(fa).st_size, 10003)
        fails(errno.EFBIG, "a write beyond the largest file", os.pwrite, fa, b"x", (1 << 62))
    for size in (1, 511, PAGE - 1, PAGE + 1, 65537, 4 * MIB + 5):
        write(f"{a}/s", pattern(size))
        expect(f"{size} bytes", read(f"{b}/s"), pattern(size))


def mmap_shared(a, b):
    """Stores to a shared mapping reach the other site with msync; a mapping of a file that grew or
    changed elsewhere shows it after a read."""
    write(f"{a}/f", pattern(3 * PAGE))
    with Opened(f"{a}/f", os.O_RDWR) as fa, Opened(f"{b}/f", os.O_RDWR) as fb:
        ma, mb = mmap.mmap(fa, 3 * PAGE), mmap.mmap(fb, 3 * PAGE)
        expect("loads", mb[:], pattern(3 * PAGE))
        ma[PAGE:PAGE + 5] = b"store"
        ma.flush()
        expect("a read of a store elsewhere", os.pread(fb, 5, PAGE), b"store")
        expect("a load of it", mb[PAGE:PAGE + 5], b"store")
        mb[0:2] = b"to"
        mb[2 * PAGE:2 * PAGE + 2] = b"it"
        mb.flush()
        os.pwrite(fa, b"write", PAGE)
        expect("stores and writes of two sites", read(f"{b}/f"),
               b"to" + pattern(3 * PAGE)[2:PAGE] + b"write" + pattern(3 * PAGE)[PAGE + 5:2 * PAGE] + b"it" +
               pattern(3 * PAGE)[2 * PAGE + 2:])
        ma.close()
        mb.close()


def truncate(a, b):
    """Cut and grown from both sites: what was cut reads as zeros ever after."""
    data = pattern(9 * MIB)
    write(f"{a}/f", data)
    for size in (8 * MIB, 5 * MIB + 123, 4 * MIB, PAGE + 7, 3):
        os.truncate(f"{b}/f", size)
        expect(f"size after a cut to {size}", os.stat(f"{a}/f").st_size, size)
        expect(f"bytes after a cut to {size}", read(f"{a}/f"), data[:size])
        os.truncate(f"{a}/f", size + 2 * MIB)
        expect(f"grown again from {size}", read(f"{b}/f"), data[:size] + bytes(2 * MIB))
        os.truncate(f"{a}/f", size)
    fails(errno.EINVAL, "a negative size", os.truncate, f"{a}/f", -1)
    fails(errno.EFBIG, "a size beyond the largest", os.truncate, f"{a}/f", 1 << 62)
    with Opened(f"{a}/f", os.O_RDONLY) as fd:
        fails(errno.EINVAL, "ftruncate of a file open to read", os.ftruncate, fd, 1)
    fails(errno.EISDIR, "truncate of a directory", os.truncate, a, 0)


# --- names ---

def rename(a, b):
    write(f"{a}/one", b"1")
    write(f"{a}/two", b"2")
    os.rename(f"{a}/one", f"{a}/two")
    expect("replaced, seen elsewhere", read(f"{b}/two"), b"1")
    expect("the old name is gone elsewhere", os.path.exists(f"{b}/one"), False)
    os.makedirs(f"{a}/d/sub")
    os.mkdir(f"{a}/e")
    os.rename(f"{b}/d", f"{b}/e")
    expect("a directory over an empty one", os.listdir(f"{a}/e"), ["sub"])
    os.mkdir(f"{b}/d")
    fails(errno.ENOTEMPTY, "a directory over one that is not empty", os.rename, f"{b}/d", f"{b}/e")
    fails(errno.EINVAL, "a directory into itself", os.rename, f"{b}/e", f"{b}/e/sub/e")
    fails(errno.EISDIR, "a file over a directory", os.rename, f"{a}/two", f"{a}/d")
    fails(errno.ENOTDIR, "a directory over a file", os.rename, f"{a}/d", f"{a}/two")
    fails(errno.ENOENT, "nothing", os.rename, f"{a}/none", f"{a}/x")
    os.link(f"{a}/two", f"{a}/same")
    os.rename(f"{a}/two", f"{a}/same")
    expect("over a link of the same file nothing happens", sorted(os.listdir(b)), ["d", "e", "same", "two"])


def rename_flags(a, b):
    write(f"{a}/one", b"1")
    write(f"{a}/two", b"2")
    fails(errno.EEXIST, "RENAME_NOREPLACE", renameat2, f"{b}/one", f"{b}/two", RENAME_NOREPLACE)
    renameat2(f"{b}/one", f"{b}/two", RENAME_EXCHANGE)
    expect("exchanged", (read(f"{a}/one"), read(f"{a}/two")), (b"2", b"1"))
    renameat2(f"{a}/one", f"{a}/three", RENAME_NOREPLACE)
    expect("moved", sorted(os.listdir(b)), ["three", "two"])


def link(a, b):
    write(f"{a}/f", b"x")
    os.link(f"{a}/f", f"{a}/g")
    expect("links, from the other site", os.stat(f"{b}/f").st_nlink, 2)
    expect("one file", os.stat(f"{b}/f").st_ino, os.stat(f"{b}/g").st_ino)
    write(f"{b}/g", b"yy")
    expect("bytes through the other name", read(f"{a}/f"), b"yy")
    os.unlink(f"{b}/f")
    expect("links after one went", os.stat(f"{a}/g").st_nlink, 1)
    fails(errno.EEXIST, "link over a name", os.link, f"{a}/g", f"{a}/g")
    fails(errno.EPERM, "link of a directory", os.link, a, f"{a}/d")


def symlink(a, b):
    os.symlink("some/where" * 40, f"{a}/l")
    expect("readlink elsewhere", os.readlink(f"{b}/l"), "some/where" * 40)
    expect("its size", os.lstat(f"{b}/l").st_size, 400)
    fails(errno.EINVAL, "readlink of a directory", os.readlink, a)


def unlink_open(a, b):
    """A file without a name lives on while somebody in any site has it open."""
    write(f"{a}/f", pattern(MIB))
    with Opened(f"{a}/f", os.O_RDWR) as fa, Opened(f"{b}/f", os.O_RDWR) as fb:
        os.unlink(f"{b}/f")
        expect("the name is gone", os.path.exists(f"{a}/f"), False)
        expect("read where it was removed", os.pread(fb, MIB, 0), pattern(MIB))
        os.pwrite(fa, b"still", 0)
        os.fsync(fa)
        expect("read what the other site wrote to it", os.pread(fb, 5, 0), b"still")
        expect("no links", os.fstat(fa).st_nlink, 0)
        write(f"{a}/f", b"new")
        expect("another file of that name", read(f"{b}/f"), b"new")
        expect("is another", os.pread(fa, 5, 0), b"still")
    fails(errno.EISDIR, "unlink of a directory", os.unlink, a)


def directories(a, b):
    os.mkdir(f"{a}/d", 0o750)
    st = os.stat(f"{b}/d")
    expect("mode", stat.S_IMODE(st.st_mode), 0o750)
    expect("links of an empty directory", st.st_nlink, 2)
    os.mkdir(f"{b}/d/x")
    expect("with one below", os.stat(f"{a}/d").st_nlink, 3)
    fails(errno.EEXIST, "mkdir of what is there", os.mkdir, f"{b}/d")
    fails(errno.ENOTEMPTY, "rmdir of a full one", os.rmdir, f"{b}/d")
    fails(errno.ENOTDIR, "rmdir of a file", (write(f"{a}/f", b""), os.rmdir)[1], f"{b}/f")
    os.rmdir(f"{a}/d/x")
    os.rmdir(f"{b}/d")
    expect("gone", os.listdir(a), ["f"])


def readdir(a, b):
    """Every name once, with its type and inode, also of a directory that grows meanwhile."""
    names = {f"{i:04d}" for i in range(1500)}
    for n in names:
        os.close(os.open(f"{a}/{n}", os.O_CREAT | os.O_WRONLY))
    with os.scandir(b) as it:
        seen = {e.name: e for e in it}
    expect("names", set(seen), names)
    expect("their inodes", all(e.inode() == os.stat(f"{a}/{n}").st_ino
                               for n, e in list(seen.items())[:50]), True)
    expect("their types", all(e.is_file(follow_symlinks=False) for e in seen.values()), True)
    it = os.scandir(a)
    some = {next(it).name for _ in range(10)}
    os.close(os.open(f"{b}/new", os.O_CREAT))
    for n in sorted(names - some)[:700]:
        os.unlink(f"{b}/{n}")
    rest = [e.name for e in it]
    expect("no name twice", len(rest), len(set(rest)))
    expect("what stayed is there", set(sorted(names - some)[700:]) <= set(rest), True)


def readdir_attributes(a, b):
    """A listing that brings attributes (ls -l) tells those of now, whoever changed them last."""
    size = {f"{i:03d}": i * 10 for i in range(100)}

    def listed(d):
        lines = [line.split() for line in run(["ls", "-l", d]).splitlines()[1:]]
        return {line[8]: int(line[4]) for line in lines}
    for n, s in size.items():
        write(f"{a}/{n}", bytes(s))
    os.mkdir(f"{a}/sub")
    for round in range(4):
        for d in (a, b, b, a):
            expect(f"sizes in round {round}", {n: s for n, s in listed(d).items() if n != "sub"}, size)
        changer = (a, b)[round % 2]
        for i in range(round, 100, 7):
            if f"{i:03d}" in size:
                os.truncate(f"{changer}/{i:03d}", 5000 + round)
                size[f"{i:03d}"] = 5000 + round
        os.unlink(f"{changer}/{round + 90:03d}")
        del size[f"{round + 90:03d}"]
        os.rename(f"{changer}/{round + 50:03d}", f"{changer}/new{round}")
        size[f"new{round}"] = size.pop(f"{round + 50:03d}")


# --- attributes ---

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


# --- locks ---

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


# --- holes ---

def fallocate_modes(a, b):
    """Grow, keep the size, punch, zero: the bytes and the size, in both sites."""
    data = bytearray(pattern(6 * MIB))
    write(f"{a}/f", data)
    with Opened(f"{a}/f", os.O_RDWR) as fa, Opened(f"{b}/f", os.O_RDWR) as fb:
        for fd, off, length in ((fa, 100, 50), (fb, PAGE, 3 * PAGE), (fa, 3 * MIB + 77, 2 * MIB), (fb, 0, 1)):
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, off, length)
            data[off:off + length] = bytes(length)
            expect(f"punched {off}+{length}", read(f"{b}/f") == data and read(f"{a}/f") == data, True)
        fallocate(fa, ZERO_RANGE, 6 * MIB - 10, 20)
        data[6 * MIB - 10:] = bytes(20)
        expect("zeroed over the end", read(f"{b}/f") == data, True)
        fallocate(fb, KEEP_SIZE, 7 * MIB, MIB)
        expect("the size kept", os.fstat(fa).st_size, len(data))
        fallocate(fb, 0, 7 * MIB, 5)
        expect("grown", os.fstat(fa).st_size, 7 * MIB + 5)
        fails(errno.EOPNOTSUPP, "collapse", fallocate, fa, 8, 0, PAGE)
        fails(errno.EINVAL, "of no bytes", fallocate, fa, 0, 0, 0)


def seek_data_hole(a, b):
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, bytes(PAGE), PAGE)
        os.pwrite(fd, b"x", 9 * MIB)
        os.ftruncate(fd, 20 * MIB)
    for mount in (a, b):
        with Opened(f"{mount}/f", os.O_RDONLY) as fd:
            expect("first data", os.lseek(fd, 0, os.SEEK_DATA), PAGE)
            expect("hole after it", os.lseek(fd, PAGE, os.SEEK_HOLE), 2 * PAGE)
            expect("next data", os.lseek(fd, 2 * PAGE, os.SEEK_DATA), 9 * MIB)
            expect("hole after it", os.lseek(fd, 9 * MIB, os.SEEK_HOLE), 9 * MIB + PAGE)
            fails(errno.ENXIO, "data in the last hole", os.lseek, fd, 10 * MIB, os.SEEK_DATA)
            fails(errno.ENXIO, "a hole behind the end", os.lseek, fd, 20 * MIB, os.SEEK_HOLE)


def stored(a, b):
    """st_blocks is what is stored, the same in both sites, also right after holes are made."""
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, 64 * MIB)
        expect("a file of one hole", blocks(f"{a}/f"), 0)
        os.pwrite(fd, pattern(MIB), 8 * MIB)
        expect("right after a write", blocks(f"{a}/f"), MIB)
        os.pwrite(fd, pattern(MIB), 8 * MIB)
        os.fsync(fd)
        expect("written over", blocks(f"{a}/f"), MIB)
    expect("from the other site", blocks(f"{b}/f"), MIB)
    with Opened(f"{b}/f", os.O_RDWR) as fd:
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 8 * MIB, 64 * 1024)
        wait_for("less after a punch", lambda: blocks(f"{b}/f") == MIB - 64 * 1024, 5)
        os.pwrite(fd, b"x", 40 * MIB)
        os.ftruncate(fd, 8 * MIB + 256 * 1024)
        wait_for("less after a cut", lambda: blocks(f"{b}/f") == 192 * 1024, 5)
    expect("after a handover", blocks(f"{a}/f"), 192 * 1024)
    write(f"{a}/full", pattern(9 * MIB))
    with Opened(f"{a}/full", os.O_RDWR) as fd:
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, PAGE, 2 * MIB)
        expect("right after a hole in a full file", blocks(f"{a}/full"), 7 * MIB)
        os.ftruncate(fd, 3 * MIB)
        wait_for("less after cutting it", lambda: blocks(f"{a}/full") == MIB, 5)
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 3 * MIB)
        expect("right after a hole over all of it", blocks(f"{a}/full"), 0)
    os.truncate(f"{b}/full", 0)
    expect("emptied elsewhere", blocks(f"{a}/full"), 0)


def stored_tools(a, b):
    """du, ls -s, cp --sparse and tar --sparse see and keep the holes."""
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT) as fd:
        for at in (5, 17, 40):
            os.pwrite(fd, pattern(256 * 1024, at), at * MIB)
        os.ftruncate(fd, 50 * MIB)
    expect("du", run(["du", "-k", f"{b}/f"]).split()[0], "768")
    expect("ls -s", run(["ls", "-sk", f"{b}/f"]).split()[0], "768")
    expect("du --apparent-size", run(["du", "-k", "--apparent-size", f"{b}/f"]).split()[0], "51200")
    run(["cp", "--sparse=auto", f"{b}/f", f"{b}/copy"])
    wait_for("cp to keep the holes", lambda: blocks(f"{a}/copy") == 768 * 1024, 5)
    expect("cp", read(f"{a}/copy") == read(f"{b}/f"), True)
    run(["tar", "-C", b, "--sparse", "-cf", f"{b}/t.tar", "f"])
    expect("tar --sparse leaves holes out", os.stat(f"{a}/t.tar").st_size < 2 * MIB, True)
    os.mkdir(f"{a}/out")
    run(["tar", "-C", f"{a}/out", "-xf", f"{a}/t.tar"])
    expect("tar", read(f"{b}/out/f") == read(f"{a}/f"), True)
    wait_for("tar to keep the holes", lambda: blocks(f"{b}/out/f") == 768 * 1024, 5)


CALLS = [open_excl, open_errors, open_trunc, open_append, open_direct, open_sync, fsync, read_write_ends,
         mmap_shared, truncate, rename, rename_flags, link, symlink, unlink_open, directories, readdir, readdir_attributes,
         attributes, suid, suid_recall, xattrs, statfs, locks_posix, locks_ofd, locks_flock, fallocate_modes,
         seek_data_hole, stored, stored_tools]


def test(cluster):
    cluster.start()
    a, b = (cluster.mount(s) for s in cluster.sites[:2])
    wanted, failed = sys.argv[3:], []
    calls = [c for c in CALLS if not wanted or c.__name__ in wanted]
    for call in calls:
        os.mkdir(f"{a}/{call.__name__}")
        try:
            call(f"{a}/{call.__name__}", f"{b}/{call.__name__}")
        except (Failure, OSError) as e:
            line = traceback.extract_tb(e.__traceback__)[1].lineno
            failed.append(f"{call.__name__} (line {line}): {e}")
            print(f"FAILED {failed[-1]}", flush=True)
    if failed:
        raise Failure(f"{len(failed)} of {len(calls)} calls: " + "; ".join(failed))
    print(f"{len(calls)} calls right in two sites")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
