"""open and its flags."""

import errno
import fcntl
import mmap
import os

from posix_calls import MIB, Opened, PAGE, expect, fails, pattern, read, write


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


CALLS = [open_excl, open_errors, open_trunc, open_append, open_direct, open_sync]
