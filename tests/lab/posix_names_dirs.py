"""Directories: listings with stable cookies, types, large ones, what mkdir and rmdir refuse."""

import ctypes
import errno
import os
import socket
import stat
import time

from posix_calls import Opened, as_user, expect, fails, libc, mode_of, write

DT = {stat.S_IFIFO: 1, stat.S_IFCHR: 2, stat.S_IFDIR: 4, stat.S_IFBLK: 6, stat.S_IFREG: 8,
      stat.S_IFLNK: 10, stat.S_IFSOCK: 12}


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long


class Listing:
    """opendir and what is done to it."""

    def __init__(self, path):
        self.d = ctypes.c_void_p(libc.opendir(path.encode()))

    def next(self):
        e = libc.readdir(self.d)
        return (os.fsdecode(e.contents.name), e.contents.type, e.contents.ino) if e else None

    def rest(self):
        out = []
        while (e := self.next()):
            out.append(e[0])
        return out

    def tell(self):
        return libc.telldir(self.d)

    def seek(self, to):
        libc.seekdir(self.d, ctypes.c_long(to))

    def rewind(self):
        libc.rewinddir(self.d)

    def close(self):
        libc.closedir(self.d)


def readdir_seek(a, b):
    """telldir's positions hold: for seekdir back and forth, in the other site, over changes."""
    names = [f"{i:04d}" for i in range(700)]
    for n in names:
        os.close(os.open(f"{a}/{n}", os.O_CREAT | os.O_WRONLY))
    here, there = Listing(a), Listing(b)
    at, seen = [here.tell()], []
    while (e := here.next()):
        seen.append(e[0])
        at.append(here.tell())
    expect("all", sorted(seen), sorted(names + [".", ".."]))
    for i in (0, 1, 2, 3, 100, 699, 701, 702, 350, 5):
        here.seek(at[i])
        expect(f"from {i} on", here.rest(), seen[i:])
        there.seek(at[i])
        expect(f"from {i} on elsewhere", there.rest(), seen[i:])
    for n in seen[2:300:2]:
        os.unlink(f"{b}/{n}")
    for i in (3, 100, 250):
        here.seek(at[i])
        expect(f"from {i} on after others went", here.rest(), [n for n in seen[i:] if os.path.exists(f"{a}/{n}")])
    write(f"{b}/new", b"")
    here.rewind()
    expect("new ones after rewinddir", "new" in here.rest(), True)
    here.close()
    there.close()


def readdir_changes(a, b):
    """While both sites add and remove, a listing loses and doubles nothing that stays."""
    stay = {f"stay{i:04d}" for i in range(600)}
    for n in stay:
        os.close(os.open(f"{a}/{n}", os.O_CREAT | os.O_WRONLY))
    for i in range(300):
        write(f"{a}/go{i:04d}", b"")
    for m, changer in ((a, b), (b, a), (a, a)):
        d, seen, i = Listing(m), [], 0
        while (e := d.next()):
            seen.append(e[0])
            if len(seen) % 9 == 0:
                write(f"{changer}/new{i}", b"")
                os.rename(f"{changer}/new{i}", f"{changer}/renamed{i}")
                gone = f"{changer}/go{i:04d}"
                if os.path.exists(gone):
                    os.unlink(gone)
                os.link(f"{changer}/stay0000", f"{changer}/l")
                os.unlink(f"{changer}/l")
                i += 1
        d.close()
        kept = [n for n in seen if n in stay]
        expect("nothing twice", len(seen), len(set(seen)))
        expect("nothing that stayed is lost", set(kept), stay)
        for n in os.listdir(a):
            if n.startswith(("new", "renamed")):
                os.unlink(f"{a}/{n}")


def readdir_types(a, b):
    """d_type and d_ino are what lstat says, for every kind of file."""
    write(f"{a}/file", b"")
    os.mkdir(f"{a}/dir")
    os.mkfifo(f"{a}/fifo")
    os.symlink("x", f"{a}/link")
    os.mknod(f"{a}/char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(f"{a}/block", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    s = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(a)
    s.bind("socket")
    os.chdir(here)
    s.close()
    for m in (a, b):
        d = Listing(m)
        while (e := d.next()):
            st = os.lstat(f"{m}/{e[0]}")
            expect(f"type and inode of {e[0]}", e[1:], (DT[stat.S_IFMT(st.st_mode)], st.st_ino))
        d.close()


def readdir_large(a, b):
    """A directory of many entries: every name once, in a time that grows as it does, also where all
    of them are cached one by one because they were made there."""
    count = 4000
    with Opened(a, os.O_RDONLY) as fd:
        write(f"{a}/0", b"")
        for i in range(1, count):
            os.link("0", str(i), src_dir_fd=fd, dst_dir_fd=fd)
    for m in (b, a, b):
        began = time.monotonic()
        names = os.listdir(m)
        took = time.monotonic() - began
        expect("names", (len(names), len(set(names))), (count, count))
        expect(f"listing {count} took {took:.1f} s, under 2", took < 2, True)
    began = time.monotonic()
    for i in range(0, count, 8):
        os.stat(f"{b}/{i}")
    took = time.monotonic() - began
    expect(f"looking 500 of them up took {took:.1f} s, under 2", took < 2, True)


def mkdir_errors(a, b):
    """What mkdir and rmdir refuse; links, sizes and times of the parent."""
    os.mkdir(f"{a}/d")
    write(f"{a}/f", b"")
    os.symlink("nowhere", f"{a}/l")
    for n in ("d", "f", "l", "."):
        fails(errno.EEXIST, f"mkdir of {n}", os.mkdir, f"{b}/{n}")
    fails(errno.ENOENT, "mkdir below nothing", os.mkdir, f"{b}/none/x")
    fails(errno.ENOTDIR, "mkdir below a file", os.mkdir, f"{b}/f/x")
    os.mkdir(f"{a}/closed", 0o555)
    fails(errno.EACCES, "mkdir where one may not write", as_user, 1000, 1000, [], os.mkdir, f"{b}/closed/x")
    fails(errno.EACCES, "rmdir where one may not write", as_user, 1000, 1000, [], os.rmdir, f"{b}/d")
    write(f"{a}/d/x", b"")
    fails(errno.ENOTEMPTY, "rmdir of a full one", os.rmdir, f"{b}/d")
    fails(errno.ENOTEMPTY, "rmdir of ..", os.rmdir, f"{b}/d/..")
    fails(errno.EINVAL, "rmdir of .", os.rmdir, f"{b}/d/.")
    fails(errno.ENOTDIR, "rmdir of a file", os.rmdir, f"{b}/f")
    fails(errno.ENOTDIR, "rmdir of a link", os.rmdir, f"{b}/l")
    fails(errno.ENOENT, "rmdir of nothing", os.rmdir, f"{b}/none")
    mount = os.path.dirname(os.path.dirname(b))
    fails(errno.EBUSY, "rmdir of the root", os.rmdir, mount if os.path.ismount(mount) else "/")
    before = os.stat(a)
    os.mkdir(f"{b}/new")
    mid = os.stat(a)
    expect("mkdir: links, mtime, ctime of the parent", (mid.st_nlink, mid.st_mtime_ns > before.st_mtime_ns,
           mid.st_ctime_ns > before.st_ctime_ns), (before.st_nlink + 1, True, True))
    os.rmdir(f"{b}/new")
    after = os.stat(a)
    expect("rmdir: the same", (after.st_nlink, after.st_mtime_ns > mid.st_mtime_ns,
           after.st_ctime_ns > mid.st_ctime_ns), (before.st_nlink, True, True))


def mkdir_modes(a, b):
    """umask, the sticky bit, and what a setgid directory hands down."""
    old = os.umask(0o027)
    try:
        os.mkdir(f"{a}/d", 0o777)
        os.close(os.open(f"{a}/f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkfifo(f"{a}/p", 0o666)
        expect("by umask", [mode_of(f"{b}/{n}") for n in "dfp"], [0o750, 0o640, 0o640])
        os.umask(0)
        os.mkdir(f"{a}/s", 0o1777)
        expect("sticky", mode_of(f"{b}/s"), 0o1777)
        os.mkdir(f"{a}/g")
        os.chown(f"{a}/g", 0, 77)
        os.chmod(f"{a}/g", 0o2777)
        for m in (a, b):
            for n, make in (("d", os.mkdir), ("f", lambda p: write(p, b"")), ("p", os.mkfifo),
                            ("l", lambda p: os.symlink("x", p))):
                as_user(1000, 1000, [], make, f"{m}/g/{n}")
                st = os.lstat(f"{b}/g/{n}")
                expect(f"group of {n}", (st.st_uid, st.st_gid), (1000, 77))
                expect(f"setgid of {n}", bool(st.st_mode & stat.S_ISGID), n == "d")
                (os.rmdir if n == "d" else os.unlink)(f"{a}/g/{n}")
        as_user(1000, 1000, [], lambda: os.close(os.open(f"{b}/g/x", os.O_CREAT, 0o2775)))
        expect("setgid of a program by who is not in the group", mode_of(f"{a}/g/x"), 0o775)
        as_user(1000, 1000, [77], lambda: os.close(os.open(f"{b}/g/y", os.O_CREAT, 0o2775)))
        expect("by who is", mode_of(f"{a}/g/y"), 0o2775)
    finally:
        os.umask(old)


CALLS = [readdir_seek, readdir_changes, readdir_types, readdir_large, mkdir_errors, mkdir_modes]
