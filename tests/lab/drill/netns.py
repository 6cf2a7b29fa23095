"""Network namespaces and the ip command."""

import json
import os
import subprocess

from cluster import Failure, run

DIRECTORY = "/run/netns"


def path(name):
    return os.path.join(DIRECTORY, name)


def names():
    try:
        return sorted(os.listdir(DIRECTORY))
    except FileNotFoundError:
        return []


def inside(name, argv):
    """The command line that runs argv in a namespace, in the mounts of the caller (ip netns exec
    would give it mounts of its own: nobody else would see what a server mounts)."""
    return ["nsenter", "--net=" + path(name), "--", *map(str, argv)]


def batch(lines, name=None):
    """Carries out lines of the ip command; in a namespace, if one is named."""
    argv = ["ip", *(["-n", name] if name else []), "-batch", "-"]
    run(argv, input="\n".join(lines) + "\n")


def ip_json(name, *words):
    """What `ip -j words` says in a namespace."""
    done = subprocess.run(["ip", "-n", name, "-j", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"ip -n {name} {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout or "[]")


def sysctl(name, settings):
    run(inside(name, ["sysctl", "-qw", *settings]))


def remove(name):
    run(["ip", "netns", "delete", name])
