"""rename(2) to its corners: what may replace what, who may, and what a move leaves right."""

import errno
import os
import stat
import threading

from posix_calls import (Opened, RENAME_EXCHANGE, RENAME_NOREPLACE, as_user, expect, fails, getdents, mode_of,
                         read, renameat2, write)

KINDS = {
    "file": lambda p: write(p, b"f"),
    "fifo": lambda p: os.mkfifo(p),
    "link": lambda p: os.symlink("nowhere", p),
    "device": lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
}


def rename_kinds(a, b):
    """Whatever is no directory replaces whatever is none; the inode moves, links and all."""
    for old, make_old in KINDS.items():
        for new, make_new in KINDS.items():
            make_old(f"{a}/{old}")
            make_new(f"{b}/over")
            ino = os.lstat(f"{a}/{old}").st_ino
            os.rename(f"{b}/{old}", f"{b}/over")
            st = os.lstat(f"{a}/over")
            expect(f"{old} over {new}", (st.st_ino, st.st_nlink, os.listdir(a)), (ino, 1, ["over"]))
            os.unlink(f"{a}/over")
    os.mkdir(f"{a}/d")
    for kind, make in KINDS.items():
        make(f"{a}/{kind}")
        fails(errno.ENOTDIR, f"a directory over {kind}", os.rename, f"{b}/d", f"{b}/{kind}")
        fails(errno.EISDIR, f"{kind} over a directory", os.rename, f"{b}/{kind}", f"{b}/d")
    fails(errno.ENOTDIR, "a trailing slash on a file", os.rename, f"{b}/file", f"{b}/new/")
    fails(errno.ENOENT, "an empty new name", os.rename, f"{b}/file", "")
    fails(errno.EBUSY, "dot", os.rename, f"{b}/d/.", f"{b}/x")
    fails(errno.EBUSY, "dot dot", os.rename, f"{b}/d", f"{b}/d/..")
    fails(errno.ENAMETOOLONG, "a name of 256 bytes", os.rename, f"{b}/file", f"{b}/{'n' * 256}")
    fails(errno.EXDEV, "into the datastore", os.rename, "/etc/passwd", f"{b}/x")


def rename_trees(a, b):
    """A directory's `..`, its parents' links and times follow it; none moves below itself."""
    for d in ("from/d/e", "to/old", "full/x"):
        os.makedirs(f"{a}/{d}")
    ino = os.stat(f"{a}/from/d").st_ino
    before = [os.stat(f"{b}/{d}") for d in ("from", "to", "from/d")]
    os.rename(f"{a}/from/d", f"{a}/to/d")
    after = [os.stat(f"{b}/{d}") for d in ("from", "to", "to/d")]
    expect("links of the old parent", after[0].st_nlink, before[0].st_nlink - 1)
    expect("links of the new parent", after[1].st_nlink, before[1].st_nlink + 1)
    for what, old, new in zip(("old parent", "new parent"), before, after):
        expect(f"mtime and ctime of the {what} moved",
               new.st_mtime_ns > old.st_mtime_ns and new.st_ctime_ns > old.st_ctime_ns, True)
    expect("mtime of the directory stayed", after[2].st_mtime_ns, before[2].st_mtime_ns)
    expect("its ctime moved", after[2].st_ctime_ns > before[2].st_ctime_ns, True)
    for m in (a, b):
        expect("its inode", os.stat(f"{m}/to/d").st_ino, ino)
        expect("its ..", os.stat(f"{m}/to/d/..").st_ino, os.stat(f"{m}/to").st_ino)
        expect("its .. when listed", dict(getdents(f"{m}/to/d"))[b".."], os.stat(f"{m}/to").st_ino)
    os.rename(f"{b}/to/d", f"{b}/to/old")
    expect("over an empty one: links", os.stat(f"{a}/to").st_nlink, 3)
    for new in ("to/old/x", "to/old/e/x"):
        fails(errno.EINVAL, "into its own subtree", os.rename, f"{b}/to/old", f"{b}/{new}")
        fails(errno.EINVAL, "into it, seen in the other site", os.rename, f"{a}/to/old", f"{a}/{new}")
    fails(errno.ENOTEMPTY, "over its own parent", os.rename, f"{a}/to/old/e", f"{a}/to/old")
    fails(errno.ENOTEMPTY, "over a full one", os.rename, f"{a}/to/old", f"{a}/full")


def rename_same(a, b):
    """Two names of one inode: nothing happens, not even a time."""
    write(f"{a}/f", b"x")
    os.link(f"{a}/f", f"{a}/g")
    before = os.stat(f"{a}/f"), os.stat(a)
    os.rename(f"{b}/f", f"{b}/g")
    os.rename(f"{b}/f", f"{b}/f")
    after = os.stat(f"{a}/f"), os.stat(a)
    expect("both are there, unchanged", after, before)
    fails(errno.EEXIST, "NOREPLACE over itself", renameat2, f"{b}/f", f"{b}/g", RENAME_NOREPLACE)


def rename_exchange(a, b):
    """EXCHANGE of a file and a full directory in two directories: links and `..` of both."""
    os.makedirs(f"{a}/one/d/x")
    os.mkdir(f"{a}/two")
    write(f"{a}/two/f", b"f")
    inos = os.stat(f"{a}/one/d").st_ino, os.stat(f"{a}/two/f").st_ino
    renameat2(f"{b}/one/d", f"{b}/two/f", RENAME_EXCHANGE)
    expect("inodes", (os.stat(f"{a}/two/f").st_ino, os.stat(f"{a}/one/d").st_ino), inos)
    expect("links", (os.stat(f"{a}/one").st_nlink, os.stat(f"{a}/two").st_nlink), (2, 3))
    expect("..", os.stat(f"{b}/two/f/..").st_ino, os.stat(f"{b}/two").st_ino)
    fails(errno.ENOENT, "with nothing", renameat2, f"{b}/one/d", f"{b}/one/none", RENAME_EXCHANGE)
    fails(errno.EINVAL, "with a parent", renameat2, f"{b}/two/f/x", f"{b}/two", RENAME_EXCHANGE)
    fails(errno.EINVAL, "with a child", renameat2, f"{b}/two", f"{b}/two/f/x", RENAME_EXCHANGE)
    fails(errno.EINVAL, "both flags", renameat2, f"{b}/one/d", f"{b}/two/f",
          RENAME_EXCHANGE | RENAME_NOREPLACE)


def rename_rights(a, b):
    """Directory rights, sticky directories, and the right to change a moved directory's `..`."""
    os.mkdir(f"{a}/sticky")
    os.chmod(f"{a}/sticky", 0o1777)
    os.mkdir(f"{a}/mine")
    os.chown(f"{a}/mine", 1000, 1000)
    for name, owner in (("theirs", 2000), ("ours", 1000)):
        write(f"{a}/sticky/{name}", b"")
        os.chown(f"{a}/sticky/{name}", owner, owner)
    fails(errno.EPERM, "of another's file from a sticky directory",
          as_user, 1000, 1000, [], os.rename, f"{b}/sticky/theirs", f"{b}/mine/x")
    fails(errno.EPERM, "over another's file there",
          as_user, 1000, 1000, [], os.rename, f"{b}/sticky/ours", f"{b}/sticky/theirs")
    fails(errno.EPERM, "unlink there", as_user, 1000, 1000, [], os.unlink, f"{b}/sticky/theirs")
    as_user(1000, 1000, [], os.rename, f"{b}/sticky/ours", f"{b}/mine/ours")
    fails(errno.EACCES, "into a directory one may not write",
          as_user, 1000, 1000, [], os.rename, f"{b}/mine/ours", f"{b}/ours")
    os.chown(f"{a}/sticky", 1000, 1000)
    as_user(1000, 1000, [], os.unlink, f"{b}/sticky/theirs")
    os.mkdir(f"{a}/open")
    os.chmod(f"{a}/open", 0o777)
    os.mkdir(f"{a}/open/d", 0o755)
    fails(errno.EACCES, "of a directory one may not write to another parent",
          as_user, 1000, 1000, [], os.rename, f"{b}/open/d", f"{b}/mine/d")
    as_user(1000, 1000, [], os.rename, f"{b}/open/d", f"{b}/open/e")
    expect("mode of it", mode_of(f"{a}/open/e"), 0o755)


def rename_seen(a, b):
    """fstat of a file or directory that was renamed, replaced or removed meanwhile in another site
    or by another name tells the new ctime and links, also in a directory that sites contend for."""
    for turn in range(6):
        write(f"{a}/f", b"f")
        write(f"{a}/old", b"o")
        mover = (a, b)[turn % 2]
        with Opened(f"{a}/f", os.O_RDONLY) as f, Opened(f"{a}/old", os.O_RDONLY) as old, \
                Opened(f"{b}/f", os.O_RDONLY) as fb:
            before = os.fstat(f), os.fstat(old), os.fstat(fb)
            os.mkdir(f"{(b, a)[turn % 2]}/contend{turn}")
            os.rename(f"{mover}/f", f"{mover}/old")
            after = os.fstat(f), os.fstat(old), os.fstat(fb)
            for i, what in enumerate(("the moved", "the replaced", "the moved, elsewhere")):
                expect(f"ctime of {what} in turn {turn}", after[i].st_ctime_ns > before[i].st_ctime_ns, True)
            expect("links", [st.st_nlink for st in after], [1, 0, 1])


def rename_against(a, b):
    """Two sites move directories into each other's at the same moment: one of them fails, and no
    loop comes to be."""
    won = {a: 0, b: 0}
    for i in range(8):
        os.makedirs(f"{a}/{i}/x/xx")
        os.makedirs(f"{b}/{i}/y/yy")
        barrier, result = threading.Barrier(2), {}

        def move(m, old, new):
            barrier.wait()
            try:
                os.rename(f"{m}/{i}/{old}", f"{m}/{i}/{new}")
                result[m] = 0
            except OSError as e:
                result[m] = e.errno
        threads = [threading.Thread(target=move, args=(a, "x", "y/yy/x")),
                   threading.Thread(target=move, args=(b, "y", "x/xx/y"))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        expect(f"one of two in round {i} ({result})", sorted(result.values()).count(0), 1)
        loser = a if result[a] else b
        expect("the other's errno", result[loser] in (errno.EINVAL, errno.ENOENT), True)
        won[a if loser == b else b] += 1
        for m in (a, b):
            expect("all four are there", sum(len(d) for _, d, _ in os.walk(f"{m}/{i}")), 4)


CALLS = [rename_kinds, rename_trees, rename_same, rename_exchange, rename_rights, rename_seen,
         rename_against]
