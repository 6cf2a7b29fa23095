"""Data: writing and reading it, mappings, cutting and growing."""

import errno
import mmap
import os

from posix_calls import MIB, Opened, PAGE, expect, fails, pattern, read, write


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


CALLS = [fsync, read_write_ends, mmap_shared, truncate]
