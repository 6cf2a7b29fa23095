#!/usr/bin/env python3
"""Full disks (P8): the capacity of core servers, the file systems beneath them, that of a voter.

Each of these servers has a small file system of its own. A writer gets ENOSPC from write() when two
replicas cannot hold the data and not before, fsync never for want of space, what was acknowledged
stays, reads and deletes go on, a server starts on a full disk, and once there is space everything
goes on.

usage: full_disk.py BINDIR DIRECTORY
"""

import errno
import itertools
import os
import shutil
import subprocess
import sys
import time

from cluster import Cluster, Failure, main_guard, run, wait_for

MIB = 1 << 20


class Disk:
    """A file system of its own for one server, and somebody else who fills it."""

    def __init__(self, server, mib):
        self.server = server
        self.base = os.path.join(server.cluster.root + "-disks", str(server).replace("/", "-"))
        self.mount, self.image = self.base + ".mnt", self.base + ".img"
        server.directory = os.path.join(self.mount, "server")
        self.mib = mib

    def make(self):
        os.makedirs(self.mount)
        with open(self.image, "wb") as f:
            f.truncate(self.mib * MIB)
        run(["mkfs.ext4", "-q", "-m", "0", self.image])
        run(["mount", "-o", "loop", self.image, self.mount])

    def remove(self):
        subprocess.run(["umount", "-l", self.mount], stderr=subprocess.DEVNULL)

    def fill(self):
        """To the last block."""
        fd = os.open(os.path.join(self.mount, "foreign"), os.O_WRONLY | os.O_CREAT)
        size = os.fstat(fd).st_size
        for step in (16 * MIB, MIB, 4096):
            try:
                while True:
                    os.posix_fallocate(fd, size, step)
                    size += step
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise
        os.close(fd)

    def free(self):
        os.unlink(os.path.join(self.mount, "foreign"))


class Writer:
    """A file of random bytes; content is what was written, acked how much of it fsync confirmed."""

    def __init__(self, path):
        self.path, self.content, self.acked = path, bytearray(), 0

    def write(self, mib):
        """Appends and syncs every 4 MiB; MiB written before ENOSPC, which only open() and write() may give."""
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT)
        except OSError as e:
            if e.errno != errno.ENOSPC:  # of a name: no room in the catalog
                raise Failure(f"open of {self.path}: {e}") from None
            return 0
        done = 0
        for done in range(mib):
            data = os.urandom(MIB)
            try:
                n = os.pwrite(fd, data, len(self.content))
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise Failure(f"write to {self.path}: {e}") from None
                break
            self.content += data[:n]
            if n < MIB:
                break
            if done % 4 == 3:
                self.sync(fd)
        else:
            done = mib
        self.sync(fd)
        os.close(fd)
        return done

    def overwrite(self, offset, data):
        """An errno, 0 when it was taken."""
        fd = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(fd, data, offset)
            self.content[offset:offset + len(data)] = data
        except OSError as e:
            return e.errno
        finally:
            self.sync(fd)
            os.close(fd)
        return 0

    def sync(self, fd):
        try:
            os.fsync(fd)
        except OSError as e:
            raise Failure(f"fsync of {self.path} after successful writes: {e}") from None
        self.acked = len(self.content)

    def check(self, mount):
        with open(os.path.join(mount, os.path.basename(self.path)), "rb") as f:
            found = f.read()
        if found != self.content:
            raise Failure(f"{f.name}: {len(found)} bytes, not the {len(self.content)} that were written")


class Lab:
    def __init__(self, cluster):
        self.cluster = cluster
        self.cores = cluster.of("core")
        self.disk = {s: Disk(s, 320) for s in self.cores}
        self.cores[0].options = {"capacity": "40MiB"}
        self.cores[1].options = {"capacity": "80MiB"}
        self.voters = cluster.of("hint")
        self.disk.update((v, Disk(v, 128)) for v in self.voters)
        self.files, self.number = [], itertools.count()

    def say(self, text):
        print(text, flush=True)

    def new_file(self):
        name = f"f{next(self.number)}"
        self.files.append(Writer(os.path.join(self.cluster.mount(self.cluster.sites[0]), name)))
        return self.files[-1]

    def check(self):
        """Nothing acknowledged is lost, seen from every site; nobody ended."""
        for site in self.cluster.sites:
            for f in self.files:
                f.check(self.cluster.mount(site))
        if self.cluster.crashed():
            raise Failure("ended by themselves: " + "\n".join(self.cluster.crashed()))

    def remove(self, f):
        os.unlink(f.path)
        self.files.remove(f)

    def room(self, what):
        """Writes work again, without anything being started anew."""
        f = self.new_file()
        wait_for(f"writes after {what}", lambda: f.write(4) > 0, 20, 0.5)

    def until_full(self, most):
        f = self.new_file()
        done = f.write(most)
        if done == most:
            raise Failure(f"{most} MiB were taken though two servers were full")
        return done

    def must_take(self, mib, what):
        f = self.new_file()
        done = f.write(mib)
        if done < mib:
            raise Failure(f"ENOSPC after {done} MiB of {mib} with {what}")
        return f

    def shown_full(self, servers):
        """Status and their logs name them."""
        def full():
            return {s["id"] for s in self.cluster.status()["servers"]
                    if s["kind"] == "core" and s["free"] < MIB}
        wait_for(f"status to show {', '.join(map(str, servers))} as full",
                 lambda: {s.id for s in servers} <= full(), 20, 0.2)
        for s in servers:
            wait_for(f"the log of {s} to say that it is full", lambda: "core.full" in s.log_tail(3), 5)

    def shown_room(self, mib, servers):
        ids = [s.id for s in servers]
        wait_for(f"status to show {mib} MiB free on {', '.join(map(str, servers))}",
                 lambda: all(s["free"] > mib * MIB for s in self.cluster.status()["servers"]
                             if s["id"] in ids), 20, 0.2)
        time.sleep(1.5)  # a refused access server asks again after a second


def capacity(lab):
    """The store may have so much and no more: 40 MiB, 80 MiB, all there is."""
    a, b, _ = lab.cores
    lab.must_take(60, "one capacity reached")
    lab.shown_full([a])
    taken = lab.until_full(400)
    lab.shown_full([a, b])
    lab.say(f"two capacities of 80 MiB and less reached: ENOSPC after {60 + taken} MiB")
    lab.check()
    for f in list(lab.files):
        lab.remove(f)
    lab.room("a delete at the capacity")
    for s in (a, b):
        s.options = {}
        s.write_config()
        s.stop()
        s.start()
    lab.shown_room(20, (a, b))
    lab.cluster.wait_healthy(30)
    lab.say("deletes made room, more capacity does")


def grow_catalog(lab, mib):
    """Extended attributes of 60 KiB; MiB taken before ENOSPC."""
    value = os.urandom(60 << 10)
    for n in range(mib * 17):
        path = os.path.join(lab.cluster.mount(lab.cluster.sites[0]), f"grows{n % 120}")
        try:
            with open(path, "a"):
                os.setxattr(path, f"user.{n}", value)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise Failure(f"setxattr of {path}: {e}") from None
            return n // 17
    return mib


def shrink_catalog(lab):
    """Deletes them; an unlinked file leaves the catalog once it is certain that nobody has it open."""
    for n in range(120):
        path = os.path.join(lab.cluster.mount(lab.cluster.sites[0]), f"grows{n}")
        if os.path.exists(path):
            os.unlink(path)
    wait_for("the catalog to drop what was deleted", lambda: lab.cluster.status()["files"]["orphans"] == 0, 20, 0.1)


def full_voters(lab):
    return {v["id"] for v in lab.cluster.status()["votes"] if v["full"]}


def voters(lab):
    """The catalog of one hint server cannot grow: it lags until there is room, and stops nobody."""
    one = lab.voters[-1]
    lab.disk[one].fill()
    if (taken := grow_catalog(lab, 24)) < 24:
        raise Failure(f"ENOSPC after {taken} MiB though only {one} is full")
    wait_for("status to name the full voter", lambda: full_voters(lab) == {one.id}, 10, 0.2)
    wait_for("its log to say so", lambda: "hint.full" in one.log_tail(20), 5)
    lab.must_take(2, "a voter's file system full")
    shrink_catalog(lab)
    lab.disk[one].free()
    lab.cluster.wait_healthy(30)
    lab.check()
    lab.say("a voter's file system full: all went on, and so did it when there was room")


def all_voters(lab):
    """Nothing that makes the catalog grow is taken, everything else is; nobody ends."""
    old, mount = lab.must_take(2, "room for every catalog"), lab.cluster.mount(lab.cluster.sites[1])
    for voter in lab.voters:
        lab.disk[voter].fill()
    if (taken := grow_catalog(lab, 64)) == 64:
        raise Failure("64 MiB of attributes were taken though no voter's file system has space")
    wait_for("a majority of voters to stay full", lambda: grow_catalog(lab, 1) == 0 and
             len(full_voters(lab)) >= 2, 10, 0.2)  # what they thought a batch takes can be less in the end
    if (rc := old.overwrite(5000, os.urandom(100))) != 0:
        raise Failure(f"an overwrite with full voters: {errno.errorcode[rc]}")
    os.rename(os.path.join(mount, "grows0"), os.path.join(mount, "grows"))
    os.rename(os.path.join(mount, "grows"), os.path.join(mount, "grows0"))
    lab.check()
    for voter in lab.voters:
        voter.kill()
    for voter in lab.voters:
        voter.start()
    lab.cluster.wait_mounted()
    shrink_catalog(lab)
    lab.room("a delete with full voters")
    for voter in lab.voters:
        lab.disk[voter].free()
    lab.cluster.wait_healthy(30)
    if (again := grow_catalog(lab, 8)) < 8:
        raise Failure(f"ENOSPC after {again} MiB though there is space again")
    shrink_catalog(lab)
    lab.check()
    lab.say(f"all voters' file systems full: ENOSPC after {taken} MiB of attributes, all else went on, also "
            "when they were killed; deletes made room")


def foreign(lab):
    """Somebody else fills the file systems beneath core servers."""
    a, b, c = lab.cores
    lab.must_take(16, "all disks empty")
    lab.disk[a].fill()
    lab.must_take(32, "one file system full")
    lab.check()
    lab.say("one file system full: writes go on")
    lab.disk[b].fill()
    old = lab.files[0]
    taken = lab.until_full(400)
    lab.shown_full([a, b])
    rc = old.overwrite(5000, os.urandom(100))
    lab.say(f"two full: ENOSPC after {taken} MiB; an overwrite: {errno.errorcode.get(rc, 'taken')}")
    lab.check()
    lab.disk[c].fill()
    lab.until_full(400)
    for s in lab.cores:
        s.stop()
        s.start()
        lab.cluster.wait_mounted()
    a.kill()
    a.start()
    lab.check()
    lab.say("all full: stopped, killed and started again; all data is there")
    lab.remove(lab.files[1])
    lab.room("a delete on full disks")
    lab.say("a delete made room")
    for s in lab.cores:
        lab.disk[s].free()
    lab.shown_room(20, lab.cores[:2])
    lab.must_take(16, "space again")
    lab.check()
    lab.cluster.wait_healthy(30)
    lab.say("space again: all goes on, healthy")


def test(cluster):
    lab = Lab(cluster)
    shutil.rmtree(cluster.root + "-disks", ignore_errors=True)
    for disk in lab.disk.values():
        disk.make()
    try:
        cluster.start()
        cluster.wait_healthy(30)
        capacity(lab)
        foreign(lab)
        voters(lab)
        all_voters(lab)
    except Failure:
        for s in cluster.servers:
            s.kill()
        raise
    finally:
        for disk in lab.disk.values():
            disk.remove()


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2], cores=1, options={
        "core": {"journal": "16MiB"}})))
