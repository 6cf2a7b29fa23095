"""Faults of a core server's disk; see ledger.py for the terms.

    disk SITE/SERVER full | slow | hung | wiped

("disk", site, server): "well", "full", "slow", "hung", "wiped". Full, slow and hung need a disk of its own: a file
with a file system of its own, mounted at cluster.disk(site, server). A hung one is a frozen file system, a slow one is
frozen most of the time; wiped is an empty disk in place of the old one, for good."""

import contextlib
import errno
import os
import subprocess

from cluster import Failure, run

from . import background, faults
from .breakable import worst_of
from .cleanup import thaw
from .ledger import Kind, register

MIB = 1 << 20
DISK_MIB = 8192         # a sparse file
STATES = ("full", "slow", "hung", "wiped")
SLOW = "while :; do fsfreeze -f {0}; sleep 0.3; fsfreeze -u {0}; sleep 0.03; done"


def make(image, mount):
    """A file system in a file, mounted."""
    os.makedirs(mount, exist_ok=True)
    with open(image, "wb") as f:
        f.truncate(DISK_MIB * MIB)
    run(["mkfs.ext4", "-q", "-m", "0", image])
    run(["mount", "-o", "loop", image, mount])


def remove(mount):
    """Whatever state it is in."""
    thaw(mount)
    subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL, check=False)


def fill(path):
    """To the last block."""
    with open(path, "ab") as f:
        size = f.tell()
        for step in (256 * MIB, 16 * MIB, MIB, 4096):
            try:
                while True:
                    os.posix_fallocate(f.fileno(), size, step)
                    size += step
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise


def slow_file(mount):
    return mount + ".slow"


def end_slow(network, mount):
    background.end(network, slow_file(mount))
    thaw(mount)


def enforce(network, cluster, key, old, new):
    _, site, name = key
    if cluster is None:
        raise Failure(f"{site}/{name}: no servers run in this network")
    if new == "wiped":
        cluster.wipe_server(site, name, network.faults.now("server", site, name) == "running")
        return
    if old == "wiped":
        return
    mount = cluster.disk(site, name)
    if not mount:
        raise Failure(f"{site}/{name} has no disk of its own: in a drill say so by the fault, by hand with "
                      "up --disks")
    if old in ("slow", "hung"):
        end_slow(network, mount)
    elif old == "full":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(mount, "foreign"))
    if new == "full":
        fill(os.path.join(mount, "foreign"))
    elif new == "hung":
        run(["fsfreeze", "-f", mount])
    elif new == "slow":
        background.start(network, site, SLOW.format(mount), slow_file(mount))


def parse(words):
    text, what = faults.fit(words, 2)
    if what not in STATES:
        raise ValueError

    def claims(topology):
        site, name = faults.server_of(topology, text)
        if not name.startswith("core"):
            raise Failure(f"{text} is no core server; only these have a disk of data")
        return [(("disk", site, name), what)]
    return claims


def needed(words, topology):
    """The servers (site, name) that need a disk of their own for these faults."""
    found = set()
    for text in words:
        for key, value in faults.parse(text, topology).claims(topology):
            if key[0] == "disk" and value != "wiped":
                found.add(key[1:])
    return found


register("disk", Kind(lambda _n, _k: "well", enforce, worst_of("well", "full", "slow", "hung", "wiped"), lasting=True))
faults.register("disk", """
disk SITE/SERVER full  no room at all: somebody else has filled it
disk SITE/SERVER slow  it answers nothing nine tenths of the time
disk SITE/SERVER hung  it answers nothing: neither writes nor syncs end
disk SITE/SERVER wiped  an empty disk in its place, for good
""", parse)
