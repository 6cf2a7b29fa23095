"""Removes what killed runs have left: processes, namespaces, and with these their devices. Runs whose
owner lives are not touched."""

import json
import os
import re
import subprocess

from cluster import Failure

from . import netns, run_id

NAMESPACE = re.compile(re.escape(run_id.PREFIX) + r"(\d+)-.+")


def inside(names):
    """Processes in these namespaces, of whatever origin."""
    inodes = {os.stat(netns.path(name)).st_ino for name in names}
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino in inodes:
                found.append(int(pid))
        except OSError:
            pass
    return found


def remove(owner, processes=(), names=None):
    """Ends and removes all of the run of this owner: an id, or a bare pid. How many processes and
    namespaces it was."""
    pid = owner.split(".")[0]
    if names is None:
        names = [n for n in netns.names() if n.startswith(f"{run_id.PREFIX}{pid}-")]
        processes = [p for p, run in run_id.processes().items() if run == owner]
    processes = sorted({*processes, *inside(names)} - {os.getpid()})
    left = run_id.kill(processes)
    if left:
        raise Failure(f"processes {left} of the run of process {pid} did not end after SIGKILL")
    for name in names:
        netns.remove(name)
    return len(processes), len(names)


def stale_mounts():
    """Mounts of servers of drills whose owner is gone: DIRECTORY/sites/SITE/mnt or .../SERVER.disk, and DIRECTORY
    says whose they are."""
    found = []
    with open("/proc/self/mounts") as f:
        places = [line.split()[1] for line in f if line.split()[2] in ("fuse.distcloud", "ext4")]
    for place in places:
        owner = os.path.join(place, "..", "..", "..", "network.json")
        try:
            with open(os.path.normpath(owner)) as f:
                if not run_id.owner_lives(json.load(f)["run"]):
                    found.append(place)
        except (OSError, ValueError, KeyError):
            pass    # no drill's
    return found


def thaw(place):
    """A frozen disk keeps alive who waits for it. A mount of the datastore is not to be touched: it may hang."""
    if place.endswith(".disk"):
        subprocess.run(["fsfreeze", "-u", place], stderr=subprocess.DEVNULL, check=False)


def unmount(places):
    for place in places:
        thaw(place)
        subprocess.run(["umount", "-l", place], check=False)


def cleanup():
    """Sentences that tell what was removed; Failure if something stays."""
    runs = {}   # owner's pid: (processes, namespaces)
    for name in netns.names():
        owner = NAMESPACE.fullmatch(name)
        if owner and not run_id.owner_lives(owner.group(1)):
            runs.setdefault(owner.group(1), ([], []))[1].append(name)
    for pid, run in run_id.processes().items():
        if re.fullmatch(r"\d+\.\d+", run) and not run_id.owner_lives(run):
            runs.setdefault(run.split(".")[0], ([], []))[0].append(pid)
    said = []
    mounts = stale_mounts()
    for place in mounts:
        thaw(place)
    for owner, left in runs.items():
        processes, names = remove(owner, *left)
        said.append(f"the run of process {owner}, which is gone: {processes} processes ended, "
                    f"{names} namespaces removed")
    unmount(mounts)
    return said + [f"{place} was still mounted" for place in mounts]
