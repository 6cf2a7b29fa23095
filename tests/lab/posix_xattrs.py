"""Extended attributes: their namespaces, limits and rights; beside them handles and inode numbers."""

import ctypes
import errno
import os
import select
import stat

from posix_calls import Opened, as_user, checked, expect, fails, libc, pattern, write

LARGEST_VALUE, LONGEST_NAME = 65536, 255


def xattr_limits(a, b):
    write(f"{a}/f", b"x")
    f, g = f"{a}/f", f"{b}/f"
    os.setxattr(f, "user.max", pattern(LARGEST_VALUE))
    expect("the largest value elsewhere", os.getxattr(g, "user.max"), pattern(LARGEST_VALUE))
    fails(errno.E2BIG, "a larger one", os.setxattr, f, "user.over", bytes(LARGEST_VALUE + 1))
    os.removexattr(g, "user.max")
    name = "user." + "n" * (LONGEST_NAME - 5)
    os.setxattr(f, name, b"v")
    expect("the longest name elsewhere", os.getxattr(g, name), b"v")
    fails(errno.ERANGE, "a longer name", os.setxattr, f, name + "n", b"v")
    fails(errno.ERANGE, "a name of nothing", os.setxattr, f, "", b"v")
    os.setxattr(g, "user.empty", b"")
    expect("an empty value", os.getxattr(f, "user.empty"), b"")
    expect("names", sorted(os.listxattr(f)), sorted([name, "user.empty"]))
    buffer = ctypes.create_string_buffer(2)
    os.setxattr(f, "user.three", b"123")
    fails(errno.ERANGE, "a value that does not fit", lambda: checked(
        libc.getxattr(g.encode(), b"user.three", buffer, 2)))
    expect("its size", libc.getxattr(g.encode(), b"user.three", None, 0), 3)
    fails(errno.ERANGE, "names that do not fit", lambda: checked(libc.listxattr(g.encode(), buffer, 2)))
    fails(errno.ENODATA, "the value of none", os.getxattr, g, "user.none")
    fails(errno.ENODATA, "removing none", os.removexattr, g, "user.none")
    fails(errno.ENODATA, "replacing none", os.setxattr, g, "user.none", b"", os.XATTR_REPLACE)
    fails(errno.EEXIST, "creating one", os.setxattr, g, "user.three", b"", os.XATTR_CREATE)


def xattr_namespaces(a, b):
    """user. for who may use the file (not on links and devices), trusted. for root, security. kept."""
    write(f"{a}/f", b"x")
    os.chmod(f"{a}/f", 0o644)
    os.chmod(a, 0o755)
    os.setxattr(f"{a}/f", "trusted.t", b"1")
    os.setxattr(f"{a}/f", "security.s", b"2")
    os.setxattr(f"{a}/f", "user.u", b"3")
    expect("root's names", sorted(os.listxattr(f"{b}/f")), ["security.s", "trusted.t", "user.u"])
    fails(errno.ENODATA, "trusted. for a user", as_user, 1000, 1000, [], os.getxattr, f"{b}/f", "trusted.t")
    fails(errno.EPERM, "setting trusted. as a user", as_user, 1000, 1000, [], os.setxattr, f"{b}/f",
          "trusted.t", b"")
    as_user(1000, 1000, [], os.getxattr, f"{b}/f", "user.u")
    fails(errno.EACCES, "user. by who may not write", as_user, 1000, 1000, [], os.setxattr, f"{b}/f",
          "user.u", b"")
    os.symlink("f", f"{a}/s")
    fails(errno.EPERM, "user. of a link", os.setxattr, f"{b}/s", "user.u", b"", follow_symlinks=False)
    os.mkfifo(f"{a}/p")
    fails(errno.EPERM, "user. of a fifo", os.setxattr, f"{b}/p", "user.u", b"")
    os.mkdir(f"{a}/d")
    os.setxattr(f"{a}/d", "user.u", b"of a directory")
    expect("user. of a directory", os.getxattr(f"{b}/d", "user.u"), b"of a directory")
    fails(errno.EOPNOTSUPP, "a namespace there is not", os.setxattr, f"{a}/f", "nowhere.x", b"")
    fails(errno.EOPNOTSUPP, "an ACL", os.setxattr, f"{a}/f", "system.posix_acl_access",
          bytes.fromhex("02000000" "01000600ffffffff" "04000400ffffffff" "20000400ffffffff"))
    os.rename(f"{a}/f", f"{a}/d/g")
    expect("kept over a rename", os.getxattr(f"{b}/d/g", "user.u"), b"3")


def capabilities(a, b):
    """Capabilities of a program are seen elsewhere, and a write into it takes them away."""
    caps = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service, revision 2
    write(f"{a}/f", b"x")
    os.setxattr(f"{a}/f", "security.capability", caps)
    expect("seen elsewhere", os.getxattr(f"{b}/f", "security.capability"), caps)
    write(f"{b}/f", b"y", "ab")
    fails(errno.ENODATA, "after a write", os.getxattr, f"{a}/f", "security.capability")


def inode_numbers(a, b):
    """The same in both sites and for all names, kept over renames, never given again."""
    seen = set()
    for i in range(20):
        write(f"{a}/f", b"%d" % i)
        ino = os.stat(f"{a}/f").st_ino
        expect("elsewhere", os.stat(f"{b}/f").st_ino, ino)
        expect("given again", ino in seen, False)
        seen.add(ino)
        os.link(f"{b}/f", f"{b}/g")
        os.rename(f"{b}/f", f"{b}/h")
        expect("after a rename", {os.stat(f"{a}/{n}").st_ino for n in "gh"}, {ino})
        with os.scandir(a) as entries:
            expect("in a listing", {e.inode() for e in entries if e.name in "gh"}, {ino})
        os.unlink(f"{a}/g")
        os.unlink(f"{b}/h")
    st = os.stat(a)
    expect("one file system", os.stat(f"{a}/..").st_dev, st.st_dev)
    expect("a directory's links", (stat.S_ISDIR(st.st_mode), st.st_nlink), (True, 2))


def handles(a, b):
    """name_to_handle_at and open_by_handle_at: a file by its number, without a name."""
    write(f"{a}/f", b"by handle")
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint.from_buffer(handle).value = 128
    mount_id = ctypes.c_int()
    checked(libc.name_to_handle_at(-100, f"{a}/f".encode(), handle, ctypes.byref(mount_id), 0))
    os.rename(f"{b}/f", f"{b}/g")
    with Opened(a, os.O_RDONLY | os.O_DIRECTORY) as at:
        fd = checked(libc.open_by_handle_at(at, handle, os.O_RDONLY))
        expect("its bytes", os.read(fd, 20), b"by handle")
        os.close(fd)


def inotify(a, b):
    """Events of changes in the same site. Those of other sites are not told, as on NFS."""
    fd = checked(libc.inotify_init1(os.O_NONBLOCK))
    checked(libc.inotify_add_watch(fd, a.encode(), 0x100 | 0x200 | 0x2))  # create, delete, modify
    write(f"{a}/f", b"x")
    os.unlink(f"{a}/f")
    expect("events", bool(select.select([fd], [], [], 1)[0]), True)
    masks, data = [], os.read(fd, 4096)
    while data:
        masks.append(int.from_bytes(data[4:8], "little"))
        data = data[16 + int.from_bytes(data[12:16], "little"):]
    expect("their kinds", masks, [0x100, 0x2, 0x200])
    os.close(fd)
    expect("gone elsewhere", os.path.exists(f"{b}/f"), False)


CALLS = [xattr_limits, xattr_namespaces, capabilities, inode_numbers, handles, inotify]
