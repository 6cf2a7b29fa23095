"""Holes: fallocate, SEEK_DATA and SEEK_HOLE, and what st_blocks says."""

import errno
import os

from cluster import run, wait_for
from posix_calls import (KEEP_SIZE, MIB, Opened, PAGE, PUNCH_HOLE, ZERO_RANGE, blocks, expect,
                         fails, fallocate, pattern, read, write)


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


CALLS = [fallocate_modes, seek_data_hole, stored, stored_tools]
