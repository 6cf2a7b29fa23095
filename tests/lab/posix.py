#!/usr/bin/env python3
"""What system calls promise, on the mounts of two sites at once: done in one, seen in the other.

One function per call, in the modules below; each gets the same fresh directory through both mounts.
All of them run, then the failed ones are named.

usage: posix.py BINDIR DIRECTORY [FUNCTION...]
"""

import os
import sys
import traceback

import posix_attributes
import posix_attributes_times
import posix_data
import posix_data_limits
import posix_holes
import posix_locks
import posix_names
import posix_names_dirs
import posix_names_links
import posix_names_modes
import posix_names_rename
import posix_names_special
import posix_open
import posix_xattrs
from cluster import Cluster, Failure, main_guard

MODULES = [posix_open, posix_data, posix_data_limits, posix_names, posix_names_rename,
           posix_names_links, posix_names_dirs, posix_names_special, posix_names_modes, posix_attributes,
           posix_attributes_times, posix_xattrs, posix_locks, posix_holes]


def test(cluster):
    cluster.start()
    a, b = (cluster.mount(s) for s in cluster.sites[:2])
    wanted, failed = sys.argv[3:], []
    calls = [c for m in MODULES for c in m.CALLS if not wanted or c.__name__ in wanted]
    for call in calls:
        os.mkdir(f"{a}/{call.__name__}")
        try:
            call(f"{a}/{call.__name__}", f"{b}/{call.__name__}")
        except (Failure, OSError) as e:
            at = traceback.extract_tb(e.__traceback__)[1]
            failed.append(f"{call.__name__} ({os.path.basename(at.filename)}:{at.lineno}): {e}")
            print(f"FAILED {failed[-1]}", flush=True)
    if failed:
        raise Failure(f"{len(failed)} of {len(calls)} calls: " + "; ".join(failed))
    print(f"{len(calls)} calls right in two sites")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
