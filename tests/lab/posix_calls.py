"""What the tests of lab_posix have in common: calls Python lacks, and what to expect of one."""

import ctypes
import errno
import os
import stat
import struct
import traceback

from cluster import Failure

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


def as_user(uid, gid, groups, call, *args, **more):
    """call(*args) by a process of that user and those groups; its error is raised here."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            call(*args, **more)
        except OSError as e:
            code = e.errno
        except BaseException:  # said here, since only a number reaches the parent
            traceback.print_exc()
            code = 255
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def getdents(path):
    """What the kernel lists, dots and all: names and their inodes."""
    buf, out = ctypes.create_string_buffer(65536), []
    with Opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        while (n := checked(libc.syscall(217, fd, buf, len(buf)))) > 0:
            at = 0
            while at < n:
                ino, _, length = struct.unpack_from("<QQH", buf, at)
                out.append((buf.raw[at + 19:at + length].split(b"\0")[0], ino))
                at += length
    return out
