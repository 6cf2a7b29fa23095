"""Hard and symbolic links, what a name may be, and how long."""

import errno
import os
import stat
import time

from posix_calls import MIB, Opened, as_user, checked, expect, fails, libc, mode_of, pattern, read, write

AT_SYMLINK_FOLLOW, AT_EMPTY_PATH, AT_FDCWD = 0x400, 0x1000, -100


def linkat(fd, old, new, flags):
    checked(libc.linkat(fd, old.encode(), AT_FDCWD, new.encode(), flags))


def link_flags(a, b):
    """link of a symbolic link is one to the link itself, unless it is to be followed."""
    write(f"{b}/f", b"x")
    os.symlink("f", f"{a}/l")
    os.symlink("none", f"{a}/dangling")
    linkat(AT_FDCWD, f"{b}/l", f"{b}/same", 0)
    expect("a link of the link", os.readlink(f"{a}/same"), "f")
    expect("links of the link", os.lstat(f"{a}/l").st_nlink, 2)
    linkat(AT_FDCWD, f"{b}/l", f"{b}/followed", AT_SYMLINK_FOLLOW)
    expect("a link of what it leads to", os.lstat(f"{a}/followed").st_ino, os.stat(f"{a}/f").st_ino)
    fails(errno.ENOENT, "followed to nothing", linkat, AT_FDCWD, f"{b}/dangling", f"{b}/x",
          AT_SYMLINK_FOLLOW)
    with Opened(f"{b}/f", os.O_RDONLY) as fd:
        linkat(fd, "", f"{b}/by_fd", AT_EMPTY_PATH)
        linkat(AT_FDCWD, f"/proc/self/fd/{fd}", f"{b}/by_proc", AT_SYMLINK_FOLLOW)
        expect("links of it, elsewhere", os.stat(f"{a}/by_proc").st_nlink, 4)
        for name in ("f", "followed", "by_fd", "by_proc"):
            os.unlink(f"{a}/{name}")
        expect("links of it now", os.fstat(fd).st_nlink, 0)
        fails(errno.ENOENT, "of a file without a name", linkat, AT_FDCWD, f"/proc/self/fd/{fd}",
              f"{b}/again", AT_SYMLINK_FOLLOW)
    fails(errno.EINVAL, "unknown flags", linkat, AT_FDCWD, f"{b}/l", f"{b}/x", 0x10000)


def link_errors(a, b):
    os.mkdir(f"{a}/d")
    write(f"{a}/f", b"x")
    os.mkfifo(f"{a}/p")
    os.link(f"{b}/p", f"{b}/p2")
    expect("links of a fifo", os.stat(f"{a}/p").st_nlink, 2)
    fails(errno.EPERM, "of a directory", os.link, f"{b}/d", f"{b}/e")
    fails(errno.EEXIST, "over a directory", os.link, f"{b}/f", f"{b}/d")
    fails(errno.ENOTDIR, "through a file", os.link, f"{b}/f", f"{b}/f/x")
    fails(errno.ENOENT, "of nothing", os.link, f"{b}/none", f"{b}/x")
    fails(errno.ENOENT, "into no directory", os.link, f"{b}/f", f"{b}/none/x")
    fails(errno.EXDEV, "into the datastore", os.link, "/etc/passwd", f"{b}/x")
    os.chown(f"{a}/f", 1000, 1000)  # who links another's file may be refused for that
    fails(errno.EACCES, "where one may not write", as_user, 1000, 1000, [], os.link, f"{b}/f", f"{b}/d/f")
    before, times = os.stat(f"{a}/d"), os.stat(f"{a}/f")
    os.link(f"{a}/f", f"{a}/d/f")
    expect("mtime of the directory moves", os.stat(f"{b}/d").st_mtime_ns > before.st_mtime_ns, True)
    after = os.stat(f"{b}/f")
    expect("ctime of the file moves", after.st_ctime_ns > times.st_ctime_ns, True)
    expect("its mtime does not", after.st_mtime_ns, times.st_mtime_ns)
    os.unlink(f"{b}/d/f")
    expect("unlink moves ctime too", os.stat(f"{a}/f").st_ctime_ns > after.st_ctime_ns, True)


def symlink_limits(a, b):
    """Targets to 4095 bytes, of any bytes; loops; what is done to the link and what to its target."""
    target = ("t" * 254 + "/") * 16
    expect("the longest target", len(target[:4095]), 4080)
    target += "t" * 15
    os.symlink(target, f"{a}/long")
    expect("its length", len(os.readlink(f"{b}/long")), 4095)
    expect("as size", os.lstat(f"{b}/long").st_size, 4095)
    fails(errno.ENAMETOOLONG, "a target of 4096 bytes", os.symlink, target + "t", f"{b}/longer")
    fails(errno.ENOENT, "an empty target", os.symlink, "", f"{b}/empty")
    fails(errno.EEXIST, "over a name", os.symlink, "x", f"{b}/long")
    odd = b"\xff\xfe\n\x01 \\"
    os.symlink(odd, f"{a}/odd")
    expect("odd bytes", os.readlink(os.fsencode(f"{b}/odd")), odd)
    os.symlink("two", f"{a}/one")
    os.symlink("one", f"{a}/two")
    fails(errno.ELOOP, "a loop", os.stat, f"{b}/one")
    write(f"{a}/0", b"end")
    for i in range(41):
        os.symlink(f"{i}", f"{a}/{i + 1}")
    expect("40 links", read(f"{b}/40"), b"end")
    fails(errno.ELOOP, "41 links", read, f"{b}/41")
    expect("mode", mode_of(f"{b}/1"), 0o777)
    os.chown(f"{b}/1", 12, 34, follow_symlinks=False)
    os.utime(f"{b}/1", ns=(1, 2), follow_symlinks=False)
    st, of = os.lstat(f"{a}/1"), os.stat(f"{a}/1")
    expect("owner of the link", (st.st_uid, st.st_gid, of.st_uid), (12, 34, 0))
    expect("times of the link", (st.st_atime_ns, st.st_mtime_ns), (1, 2))
    os.unlink(f"{b}/1")
    expect("its target stays", read(f"{a}/0"), b"end")
    os.symlink("d", f"{a}/to_d")
    os.mkdir(f"{a}/d")
    fails(errno.ENOTDIR, "rmdir of a link to a directory", os.rmdir, f"{b}/to_d")
    fails(errno.EINVAL, "readlink of a file", os.readlink, f"{b}/0")


def names_any_bytes(a, b):
    """Every byte but / and NUL is a name's; none is folded with another."""
    base = os.fsencode(a)
    names = {bytes([i]) for i in range(1, 256)} - {b"/", b"."}
    names |= {b"...", b" ", b"-", b"\xff" * 255, b"\xc3\xa9", b"e\xcc\x81", b"A\xcc\x8a", b"\xc3\x85",
              b"\xe2\x84\xab", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b".fuse_hidden0001", b"nul", b"a.", b"a "}
    for n in names:
        os.close(os.open(base + b"/" + n, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    expect("listed elsewhere", set(os.listdir(os.fsencode(b))), names)
    for n in names:
        os.rename(os.fsencode(b) + b"/" + n, os.fsencode(b) + b"/" + n[:250] + b"~~~~~")
    expect("renamed", set(os.listdir(base)), {n[:250] + b"~~~~~" for n in names})


def names_long(a, b):
    """255 bytes a name, 4095 a path: one more is ENAMETOOLONG for every call."""
    n255, n256 = "n" * 255, "n" * 256
    os.mkdir(f"{a}/{n255}")
    expect("a directory", os.listdir(b), [n255])
    write(f"{a}/f", b"x")
    for what, call in (("open", lambda p: os.open(p, os.O_CREAT | os.O_WRONLY)), ("mkdir", os.mkdir),
                       ("mkfifo", os.mkfifo), ("stat", os.stat), ("lstat", os.lstat),
                       ("unlink", os.unlink), ("rmdir", os.rmdir), ("readlink", os.readlink),
                       ("chmod", lambda p: os.chmod(p, 0o600)), ("chown", lambda p: os.chown(p, 1, 1)),
                       ("truncate", lambda p: os.truncate(p, 0)), ("utime", os.utime),
                       ("link", lambda p: os.link(f"{b}/f", p)), ("symlink", lambda p: os.symlink("x", p)),
                       ("rename", lambda p: os.rename(f"{b}/f", p)), ("access", checked_access),
                       ("listxattr", os.listxattr)):
        fails(errno.ENAMETOOLONG, f"{what} of 256 bytes", call, f"{b}/{n256}")
        fails(errno.ENAMETOOLONG, f"{what} of 256 bytes below", call, f"{b}/{n256}/x")
        fails(errno.ENAMETOOLONG, f"{what} of a path of 4096 bytes", call, f"{b}/" + "./" * 2048)
        fails(errno.ENOTDIR, f"{what} through a file", call, f"{b}/f/x")
    path = f"{b}/" + "./" * 2040
    expect("a path of 4095 bytes", os.stat(path[:4094 - len(b) % 2] + "/" * (1 + len(b) % 2)).st_ino,
           os.stat(a).st_ino)
    fd = os.open(a, os.O_RDONLY)
    for _ in range(20):
        if n255 not in os.listdir(fd):
            os.mkdir(n255, dir_fd=fd)
        fd, old = os.open(n255, os.O_RDONLY, dir_fd=fd), fd
        os.close(old)
    write_at(fd, "deep", b"x")
    expect("a tree deeper than a path", os.listdir(fd), ["deep"])
    os.close(fd)
    expect("from the other site", deepest(b), ["deep"])


def checked_access(path):
    checked(libc.access(path.encode(), 0))


def write_at(fd, name, data):
    f = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.write(f, data)
    os.close(f)


def deepest(path):
    fd = os.open(path, os.O_RDONLY)
    while (names := [n for n in os.listdir(fd) if len(n) == 255]):
        fd, old = os.open(names[0], os.O_RDONLY, dir_fd=fd), fd
        os.close(old)
    names = os.listdir(fd)
    os.close(fd)
    return names


def unlink_open_elsewhere(a, b):
    """A file whose last name another site takes, by unlink or by rename over it, lives on here: data,
    attributes, xattrs; and it is gone with the last close."""
    for how in ("unlink", "rename"):
        write(f"{a}/f", pattern(MIB))
        os.setxattr(f"{a}/f", "user.x", b"kept")
        with Opened(f"{a}/f", os.O_RDWR) as fd:
            if how == "unlink":
                os.unlink(f"{b}/f")
            else:
                write(f"{b}/new", b"new")
                os.rename(f"{b}/new", f"{b}/f")
            expect("links", os.fstat(fd).st_nlink, 0)
            os.fchmod(fd, 0o640)
            os.fchown(fd, 5, 6)
            os.ftruncate(fd, 100)
            os.pwrite(fd, b"more", 200)
            os.utime(fd, ns=(5, 7))
            st = os.fstat(fd)
            expect("attributes", (stat.S_IMODE(st.st_mode), st.st_uid, st.st_size, st.st_mtime_ns),
                   (0o640, 5, 204, 7))
            expect("xattr", os.getxattr(fd, "user.x"), b"kept")
            expect("data", os.pread(fd, 100, 0), pattern(MIB)[:100])
            fd2 = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
            expect("opened again by /proc", os.pread(fd2, 4, 200), b"more")
            os.close(fd2)
        fails(errno.ENOENT, "unlink of nothing", os.unlink, f"{a}/none")
    fails(errno.ENOTDIR, "unlink with a trailing slash", os.unlink, f"{a}/f/")
    os.mkdir(f"{a}/d")
    fails(errno.EISDIR, "unlink of a directory", os.unlink, f"{b}/d")
    with Opened(f"{a}/d", os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.rmdir(f"{b}/d")
        expect("links of a removed directory", os.fstat(fd).st_nlink, 0)
        expect("its listing", os.listdir(fd), [])
        fails(errno.ENOENT, "a name in it", os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        fails(errno.ENOENT, "a directory in it", os.mkdir, "x", dir_fd=fd)
        fails(errno.ENOENT, "a link in it", os.link, f"{a}/f", "x", dst_dir_fd=fd)
        fails(errno.ENOENT, "a rename into it", os.rename, f"{a}/f", "x", dst_dir_fd=fd)


def unlink_written_elsewhere(a, b):
    """Who wrote a file last and closed it keeps nothing back from who has it open when the names go."""
    data, opened = pattern(8 * MIB), []
    for how in ("unlink", "rename", "truncate"):
        write(f"{a}/{how}", b"old")
        opened.append(os.open(f"{b}/{how}", os.O_RDWR))
        write(f"{a}/{how}", data)
        if how == "truncate":
            os.truncate(f"{a}/{how}", MIB)
        if how == "rename":
            write(f"{a}/new", b"new")
            os.rename(f"{a}/new", f"{a}/{how}")
        else:
            os.unlink(f"{a if how == 'unlink' else b}/{how}")
    time.sleep(2)  # by now every site was asked who has them open
    for fd, how in zip(opened, ("unlink", "rename", "truncate")):
        size = MIB if how == "truncate" else len(data)
        expect(f"links and size after {how}", os.fstat(fd)[3:7:3], (0, size))
        expect(f"data after {how}", os.pread(fd, len(data), 0), data[:size])
        os.pwrite(fd, b"more", size)
        os.fsync(fd)
        expect(f"size after {how} and a write", os.fstat(fd).st_size, size + 4)
        os.close(fd)


CALLS = [link_flags, link_errors, symlink_limits, names_any_bytes, names_long,
         unlink_open_elsewhere, unlink_written_elsewhere]
