"""Fifos, sockets and devices: their names are the datastore's, what they do is the kernel's."""

import errno
import os
import socket
import stat
import threading

from posix_calls import as_user, expect, fails, mode_of, write


def mkfifo(a, b):
    """A fifo made in one site works in each, between the processes of that site."""
    os.mkfifo(f"{a}/p", 0o644)
    st = os.stat(f"{b}/p")
    expect("what it is", (stat.S_ISFIFO(st.st_mode), st.st_size, st.st_nlink, st.st_blocks), (True, 0, 1, 0))
    for m in (a, b):
        t = threading.Thread(target=lambda: write(f"{m}/p", b"through"))
        t.start()
        with open(f"{m}/p", "rb") as f:
            expect("what came through", f.read(), b"through")
        t.join()
    fails(errno.ENXIO, "a writer without readers", os.open, f"{b}/p", os.O_WRONLY | os.O_NONBLOCK)
    fails(errno.EEXIST, "mkfifo over it", os.mkfifo, f"{b}/p")
    fd = os.open(f"{a}/p", os.O_RDONLY | os.O_NONBLOCK)
    fails(errno.ESPIPE, "lseek", os.lseek, fd, 0, os.SEEK_SET)
    fails(errno.EINVAL, "ftruncate", os.ftruncate, fd, 0)
    os.close(fd)
    fails(errno.EINVAL, "truncate", os.truncate, f"{b}/p", 0)
    as_user(1000, 1000, [], lambda: os.close(os.open(f"{b}/p", os.O_RDONLY | os.O_NONBLOCK)))
    fails(errno.EACCES, "to write, without the right", as_user, 1000, 1000, [], os.open, f"{b}/p", os.O_WRONLY)


def at(directory, call):
    """Paths of sockets are short: call() with the directory as the current one."""
    here = os.getcwd()
    os.chdir(directory)
    try:
        return call()
    finally:
        os.chdir(here)


def sockets(a, b):
    """A socket bound in one site is a socket in the other, where nobody listens on it."""
    s, c = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    at(a, lambda: s.bind("s"))
    s.listen(1)
    st = os.stat(f"{b}/s")
    expect("what it is elsewhere", (stat.S_ISSOCK(st.st_mode), st.st_size, st.st_nlink), (True, 0, 1))
    if a != b:
        fails(errno.ECONNREFUSED, "connect elsewhere", at, b, lambda: c.connect("s"))
    fails(errno.EADDRINUSE, "bind elsewhere", at, b, lambda: socket.socket(socket.AF_UNIX).bind("s"))
    at(a, lambda: c.connect("s"))
    c.send(b"hello")
    peer = s.accept()[0]
    expect("what came", peer.recv(10), b"hello")
    fails(errno.ENXIO, "open of one", os.open, f"{b}/s", os.O_RDONLY)
    os.rename(f"{b}/s", f"{b}/moved")
    c2 = socket.socket(socket.AF_UNIX)
    at(a, lambda: c2.connect("moved"))
    os.chmod(f"{b}/moved", 0o700)
    fails(errno.EACCES, "connect without the right", as_user, 1000, 1000, [], at, a,
          lambda: socket.socket(socket.AF_UNIX).connect("moved"))
    os.unlink(f"{b}/moved")
    fails(errno.ENOENT, "connect to what is gone", at, a, lambda: socket.socket(socket.AF_UNIX).connect("moved"))
    for x in (s, c, c2, peer):
        x.close()


def devices(a, b):
    """Device nodes keep all bits of their numbers and lead to the device; only root makes them."""
    for name, kind, dev in (("null", stat.S_IFCHR, os.makedev(1, 3)), ("zero", stat.S_IFCHR, os.makedev(1, 5)),
                            ("large", stat.S_IFBLK, os.makedev(0xfff, 0xfffff)),
                            ("small", stat.S_IFCHR, os.makedev(0, 0)), ("minor", stat.S_IFBLK, os.makedev(8, 257))):
        os.mknod(f"{a}/{name}", kind | 0o666, dev)
        st = os.stat(f"{b}/{name}")
        expect(f"number of {name}", (os.major(st.st_rdev), os.minor(st.st_rdev)), (os.major(dev), os.minor(dev)))
        expect(f"kind of {name}", stat.S_IFMT(st.st_mode), kind)
    with open(f"{b}/zero", "rb", buffering=0) as f:
        expect("what is read from it", f.read(5), bytes(5))
    write(f"{b}/null", b"away")
    expect("size", os.stat(f"{a}/null").st_size, 0)
    fails(errno.ENXIO, "a device that is not there", os.open, f"{b}/large", os.O_RDONLY)
    os.mkdir(f"{a}/open")
    os.chmod(f"{a}/open", 0o777)
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        fails(errno.EPERM, "mknod without the right", as_user, 1000, 1000, [], os.mknod, f"{b}/open/x", kind | 0o600,
              os.makedev(1, 3))
    for kind in (stat.S_IFREG, 0, stat.S_IFIFO, stat.S_IFSOCK):
        as_user(1000, 1000, [], os.mknod, f"{b}/open/x", kind | 0o640)
        expect("mknod of anybody", (stat.S_IFMT(os.lstat(f"{a}/open/x").st_mode), mode_of(f"{a}/open/x")),
               (kind or stat.S_IFREG, 0o640))
        os.unlink(f"{a}/open/x")
    fails(errno.EPERM, "mknod of a directory", os.mknod, f"{b}/x", stat.S_IFDIR | 0o755)
    fails(errno.EINVAL, "mknod of a link", os.mknod, f"{b}/x", stat.S_IFLNK | 0o777)


CALLS = [mkfifo, sockets, devices]
