"""Data: the limits of files, processes and arguments, and what goes over the end of a mapping."""

import ctypes
import errno
import mmap
import os
import resource
import signal

from posix_calls import MIB, Opened, PAGE, as_user, checked, expect, fails, libc, pattern, read, write

TIB = 1 << 40
LARGEST = 64 * TIB


def largest_file(a, b):
    """Data in the last page of 64 TiB is there in both sites, one byte further is EFBIG."""
    with Opened(f"{a}/f", os.O_RDWR | os.O_CREAT) as fa, Opened(f"{b}/f", os.O_RDWR) as fb:
        os.pwrite(fa, b"last", LARGEST - 4)
        expect("the largest size elsewhere", os.fstat(fb).st_size, LARGEST)
        expect("its last bytes", os.pread(fb, 10, LARGEST - 4), b"last")
        expect("a hole in its middle", os.pread(fb, PAGE, 31 * TIB), bytes(PAGE))
        expect("the first data", os.lseek(fb, 0, os.SEEK_DATA), LARGEST - PAGE)
        fails(errno.EFBIG, "a write behind it", os.pwrite, fa, b"x", LARGEST)
        expect("a write across it", os.pwrite(fa, b"across", LARGEST - 2), 2)
        expect("what fits of that elsewhere", os.pread(fb, 10, LARGEST - 4), b"laac")
        with Opened(f"{a}/f", os.O_RDWR | os.O_DIRECT) as direct:
            expect("and of a direct one", os.pwrite(direct, mmap.mmap(-1, 2 * PAGE), LARGEST - PAGE), PAGE)
        expect("its size", os.fstat(fb).st_size, LARGEST)
        fails(errno.EFBIG, "a size of one more", os.ftruncate, fb, LARGEST + 1)
        fails(errno.EFBIG, "space behind it", os.posix_fallocate, fa, LARGEST, 1)
        os.ftruncate(fb, 0)
        expect("cut to nothing", (os.fstat(fa).st_size, os.pread(fa, 4, LARGEST - 4)), (0, b""))


def limit_fsize(a, b):
    """RLIMIT_FSIZE: up to the limit is written, at it EFBIG and SIGXFSZ, growing fails as well."""
    write(f"{a}/f", b"")

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Opened(f"{a}/f", os.O_RDWR) as fd:
            expect("what fits below the limit", os.pwrite(fd, bytes(4000), 8000), 2000)
            fails(errno.EFBIG, "a write at the limit", os.pwrite, fd, b"x", 10000)
            fails(errno.EFBIG, "growing beyond it", os.ftruncate, fd, 10001)
            os.ftruncate(fd, 9000)
            fails(errno.EFBIG, "space beyond it", os.posix_fallocate, fd, 9000, 2000)
        with Opened(f"{a}/f", os.O_WRONLY | os.O_APPEND) as fd:
            expect("what can still be appended", os.write(fd, b"a" * 2000), 1000)
            fails(errno.EFBIG, "appending at the limit", os.write, fd, b"x")

    as_user(0, 0, [], limited)
    expect("size elsewhere", os.stat(f"{b}/f").st_size, 10000)
    expect("bytes elsewhere", read(f"{b}/f"), bytes(9000) + b"a" * 1000)


def arguments(a, b):
    """Offsets, vectors and descriptors that make no sense, each with the error it has everywhere."""
    write(f"{a}/f", pattern(PAGE))
    with Opened(f"{b}/f", os.O_RDONLY) as fd:
        fails(errno.EBADF, "a write to what is open to read", os.write, fd, b"x")
        fails(errno.EINVAL, "a negative offset", os.pread, fd, 1, -1)
        fails(errno.EINVAL, "a seek before the beginning", os.lseek, fd, -1, os.SEEK_SET)
        fails(errno.ENXIO, "a seek to data behind the end", os.lseek, fd, PAGE, os.SEEK_DATA)
        fails(errno.EINVAL, "a seek from nowhere", os.lseek, fd, 0, 77)
        fails(errno.ESPIPE, "a pread of a pipe", os.pread, os.pipe()[0], 1, 0)
        parts = [bytearray(1), bytearray(0), bytearray(5000)]
        expect("readv over the end", os.preadv(fd, parts, 10), PAGE - 10)
        expect("its pieces", bytes(parts[0] + parts[2][:PAGE - 11]), pattern(PAGE)[10:])
    with Opened(f"{b}/f", os.O_WRONLY) as fd:
        fails(errno.EBADF, "a read of what is open to write", os.read, fd, 1)
        fails(errno.EINVAL, "a negative offset", os.pwrite, fd, b"x", -1)
        expect("writev", os.pwritev(fd, [b"one", b"", b"two"], 1), 6)
        fails(errno.EINVAL, "fallocate of nothing", os.posix_fallocate, fd, 0, 0)
        fails(errno.EINVAL, "fallocate before the beginning", os.posix_fallocate, fd, -1, 1)
        fails(errno.EFAULT, "a write from nowhere", lambda: checked(
            libc.pwrite(fd, ctypes.c_void_p(8), ctypes.c_size_t(10), ctypes.c_long(0))))
    with Opened(f"{a}/f", os.O_RDONLY) as fd:
        fails(errno.EBADF, "fallocate of what is open to read", os.posix_fallocate, fd, 0, 1)
    with Opened(a, os.O_RDONLY | os.O_DIRECTORY) as fd:
        fails(errno.EISDIR, "a read of a directory", os.read, fd, 1)
    expect("bytes", read(f"{a}/f")[:8], pattern(1) + b"onetwo" + pattern(8)[7:])


def copies(a, b):
    """copy_file_range within a file, between files, over the end, and where it must not."""
    data = pattern(3 * MIB)
    write(f"{a}/from", data)
    with Opened(f"{b}/from", os.O_RDWR) as src, Opened(f"{b}/to", os.O_RDWR | os.O_CREAT) as dst:
        expect("its size is known", os.fstat(src).st_size, 3 * MIB)
        done = 0
        while n := os.copy_file_range(src, dst, 4 * MIB - done, done, 100 + done):
            done += n
        expect("copied up to the end", done, 3 * MIB)
        expect("a copy behind the end", os.copy_file_range(src, dst, 10, 4 * MIB, 0), 0)
        expect("within one file", os.copy_file_range(src, src, PAGE, 0, 2 * MIB), PAGE)
        fails(errno.EINVAL, "onto itself", os.copy_file_range, src, src, PAGE, 0, 10)
    with Opened(f"{a}/to", os.O_RDONLY) as fd, Opened(f"{a}/from", os.O_RDONLY) as src:
        fails(errno.EBADF, "into what is open to read", os.copy_file_range, src, fd, 1)
        with Opened(f"{a}/to", os.O_WRONLY | os.O_APPEND) as end:
            fails(errno.EBADF, "into what appends", os.copy_file_range, src, end, 1)
    expect("the copy elsewhere", read(f"{a}/to"), bytes(100) + data)
    expect("the source elsewhere", read(f"{a}/from"), data[:2 * MIB] + data[:PAGE] + data[2 * MIB + PAGE:])


def signal_of(call):
    """The signal that ends a process which makes this call, or 0."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        call()
        os._exit(0)
    return -min(0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def mmap_end(a, b):
    """Behind the end: zeros in the last page, which never reach the file; SIGBUS in the next one."""
    write(f"{a}/f", pattern(PAGE + 100))
    with Opened(f"{a}/f", os.O_RDWR) as fd:
        m = mmap.mmap(fd, 0)
        expect("load of the last page", m[PAGE:], pattern(PAGE + 100)[PAGE:])
        os.ftruncate(fd, 3 * PAGE)
        whole = mmap.mmap(fd, 3 * PAGE)
        expect("behind the old end", whole[PAGE + 100:], bytes(2 * PAGE - 100))
        whole[2 * PAGE] = 7
        whole.flush()
        os.truncate(f"{b}/f", PAGE + 1)  # by another site
        expect("the size after it", os.fstat(fd).st_size, PAGE + 1)
        expect("load behind the end", signal_of(lambda: whole[2 * PAGE]), signal.SIGBUS)
        expect("load within", whole[PAGE], pattern(PAGE + 1)[PAGE])
        os.ftruncate(fd, 3 * PAGE)
        expect("what was cut is zeros", os.pread(fd, 2 * PAGE, PAGE + 1), bytes(2 * PAGE - 1))
    expect("and elsewhere", read(f"{b}/f"), pattern(PAGE + 1) + bytes(2 * PAGE - 1))


def mmap_private(a, b):
    """Stores to a private mapping stay there, and rights follow how the file was opened."""
    write(f"{a}/f", pattern(2 * PAGE))
    with Opened(f"{a}/f", os.O_RDONLY) as fd:
        m = mmap.mmap(fd, 2 * PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        m[0:5] = b"store"
        m.flush()
        expect("the mapping", m[0:5], b"store")
        fails(errno.EACCES, "a shared mapping to write of it", mmap.mmap, fd, PAGE)
    with Opened(f"{a}/f", os.O_WRONLY) as fd:
        fails(errno.EACCES, "a mapping of what is open to write", mmap.mmap, fd, PAGE,
              flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    with Opened(a, os.O_RDONLY) as fd:
        fails(errno.ENODEV, "a mapping of a directory", mmap.mmap, fd, PAGE, prot=mmap.PROT_READ)
    expect("bytes elsewhere", read(f"{b}/f"), pattern(2 * PAGE))


CALLS = [largest_file, limit_fsize, arguments, copies, mmap_end, mmap_private]
