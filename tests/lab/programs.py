#!/usr/bin/env python3
"""Programs of every day on the mount, compared from the other sites.

SQLite in both journal modes, git clone of this project, tar of a source tree, cp --sparse, rsync.

usage: programs.py BINDIR DIRECTORY
"""

import os
import shutil
import sys

from cluster import Cluster, Failure, main_guard, run

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def same_tree(a, b):
    run(["diff", "-r", "--no-dereference", a, b])


def sqlite(cluster, mode):
    """A database written in one site is whole and the same in the others."""
    name = f"db-{mode}.sqlite"
    path = f"{cluster.mount(cluster.sites[0])}/{name}"
    script = f"pragma journal_mode={mode}; create table t(a integer primary key, b text);"
    for batch in range(20):
        script += "begin;" + "".join(
            f"insert into t(b) values('{batch}-{i}');" for i in range(50)) + "commit;"
    out = run(["sqlite3", path, script])
    if out.strip() != mode:
        raise Failure(f"sqlite3 uses journal mode {out.strip()}, not {mode}")
    for site in cluster.sites:
        out = run(["sqlite3", f"{cluster.mount(site)}/{name}",
                   "pragma integrity_check; select count(*) from t; insert into t(b) values('x');"])
        if out.split()[0] != "ok":
            raise Failure(f"{site}: {out}")
    out = run(["sqlite3", path, "select count(*) from t;"])
    if int(out) != 1000 + len(cluster.sites):
        raise Failure(f"{out.strip()} rows in the end")


def git(cluster):
    """git clone of the project itself; the other sites see a clean, whole checkout."""
    first = f"{cluster.mount(cluster.sites[0])}/clone"
    run(["git", "clone", "-q", "--no-hardlinks", SOURCE, first])
    for site in cluster.sites[1:]:
        path = f"{cluster.mount(site)}/clone"
        run(["git", "-c", "safe.directory=*", "-C", path, "fsck", "--strict"])
        out = run(["git", "-c", "safe.directory=*", "-C", path, "status", "--porcelain"])
        if out:
            raise Failure(f"{site}: checkout differs: {out}")
        same_tree(first, path)


def tar(cluster, scratch):
    """A source tree packed from one site, unpacked in another, equal in the third."""
    a, b, c = (cluster.mount(s) for s in cluster.sites[:3])
    run(["sh", "-c", f"tar -C {SOURCE} --exclude=./build --exclude=./.git -cf {a}/tree.tar . && "
         f"mkdir {b}/tree && tar -C {b}/tree -xf {b}/tree.tar && mkdir {scratch}/tree && "
         f"tar -C {scratch}/tree -xf {c}/tree.tar"])
    same_tree(f"{scratch}/tree", f"{c}/tree")


def sparse(cluster, scratch):
    """cp --sparse keeps holes holes and bytes bytes."""
    source = f"{scratch}/sparse"
    with open(source, "wb") as f:
        for i in range(5):
            f.seek(i * (7 << 20) + 12345)
            f.write(os.urandom(100000))
        f.truncate(64 << 20)
    a, b = cluster.mount(cluster.sites[0]), cluster.mount(cluster.sites[1])
    run(["cp", "--sparse=always", source, f"{a}/sparse"])
    run(["cmp", source, f"{b}/sparse"])
    run(["cp", "--sparse=always", f"{b}/sparse", f"{scratch}/back"])
    run(["cmp", source, f"{scratch}/back"])
    fd = os.open(f"{b}/sparse", os.O_RDONLY)
    hole = os.lseek(fd, 0, os.SEEK_HOLE)
    data = os.lseek(fd, (1 << 20), os.SEEK_DATA)
    os.close(fd)
    if not hole < 12345 or not (6 << 20) < data <= (7 << 20) + 12345:
        raise Failure(f"first hole at {hole}, data after it at {data}: the file is not sparse")


def rsync(cluster):
    """rsync into the datastore, a change, rsync again: only equal trees."""
    a, b = (cluster.mount(s) for s in cluster.sites[:2])
    for _ in range(2):
        run(["rsync", "-a", "--delete", "--exclude=/build", "--exclude=/.git", f"{SOURCE}/", f"{a}/rs/"])
        out = run(["rsync", "-anic", "--delete", "--exclude=/build", "--exclude=/.git", f"{SOURCE}/", f"{b}/rs/"])
        changed = [line for line in out.splitlines() if not line.startswith(".d")]
        if changed:
            raise Failure(f"rsync sees differences from the other site: {changed[:5]}")
        with open(f"{b}/rs/README.md", "a") as f:
            f.write("changed\n")


def test(cluster):
    scratch = cluster.root + "-scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    cluster.start()
    for name, part in (("sqlite wal", lambda: sqlite(cluster, "wal")),
                       ("sqlite rollback journal", lambda: sqlite(cluster, "delete")),
                       ("git", lambda: git(cluster)), ("tar", lambda: tar(cluster, scratch)),
                       ("cp --sparse", lambda: sparse(cluster, scratch)),
                       ("rsync", lambda: rsync(cluster))):
        part()
        print(f"{name}: equal in all sites", flush=True)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
