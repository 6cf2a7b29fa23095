"""Names and directories."""

import errno
import os
import stat

from cluster import run
from posix_calls import (MIB, Opened, RENAME_EXCHANGE, RENAME_NOREPLACE, expect, fails, pattern,
                         read, renameat2, write)


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


CALLS = [rename, rename_flags, link, symlink, unlink_open, directories, readdir,
         readdir_attributes]
