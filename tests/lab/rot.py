#!/usr/bin/env python3
"""Pages of a running core server's disk overwritten with garbage (P7).

Reads stay right in every site, scrub finds what nobody read, all of it is repaired from the other
replicas and the cluster is healthy again. A page that is bad on every disk is an error of its own.

usage: rot.py BINDIR DIRECTORY
"""

import errno
import json
import os
import sys

from cluster import Cluster, Failure, main_guard, wait_for

PAGE = 4096


def page(i):
    return (b"page %08d " % i) * (PAGE // 14) + bytes(PAGE % 14)


def spoil(server, wanted, every):
    """Overwrites every n-th stored page that `wanted` knows in the server's data file."""
    count = spoiled = 0
    with open(os.path.join(server.base, "data"), "r+b", buffering=0) as f:
        at = 0
        while chunk := f.read(PAGE):
            if chunk in wanted:
                count += 1
                if count % every == 0:
                    f.seek(at)
                    f.write(os.urandom(PAGE))
                    spoiled += 1
                f.seek(at + PAGE)
            at += PAGE
        os.fsync(f.fileno())
    return spoiled


def lose(cluster, first, last, pages):
    """A page that is bad on every core server: EIO there and nowhere else, until it is written anew."""
    lost = 1234
    cluster.stop()  # what is in journals goes to its place
    cluster.start()
    spoiled = sum(spoil(s, {pages[lost]}, 1) for s in cluster.of("core"))
    if spoiled < 3:
        raise Failure(f"page {lost} is on {spoiled} disks only")
    with open(f"{last}/file", "r+b", buffering=0) as f:
        for i in range(lost - 40, lost + 40):
            try:
                right = os.pread(f.fileno(), PAGE, i * PAGE) == pages[i]
            except OSError as e:
                right = i == lost and e.errno == errno.EIO
            else:
                right = right and i != lost
            if not right:
                raise Failure(f"page {i} is not what it should be while page {lost} is bad everywhere")
        bad = cluster.status()["bad_pages"]
        if {(b["path"], b["block"] * 1024 + b["page"]) for b in bad} != {("/file", lost)} or \
           {b["server"] for b in bad} > {s.id for s in cluster.of("core")}:
            raise Failure(f"status names other bad pages: {bad}")
        pages[lost] = page(999999)
        os.pwrite(f.fileno(), pages[lost], lost * PAGE)
        os.fsync(f.fileno())
    with open(f"{first}/file", "rb") as f:
        if f.read() != b"".join(pages):
            raise Failure("after writing the page anew other bytes are read")


def reports(cluster):
    return json.loads(cluster.distcloud("--json", "scrub", "status", well=(0, 1)))  # 1: bad pages


def scrub(cluster):
    """A whole pass over every core server; the number of bad pages found by it."""
    before = sum(r["bad_pages_found"] for r in reports(cluster))
    cluster.distcloud("scrub")
    wait_for("the scrub to end", lambda: not any(r["running"] for r in reports(cluster)), 60, 0.2)
    return sum(r["bad_pages_found"] for r in reports(cluster)) - before


def test(cluster):
    cluster.start()
    pages = [page(i) for i in range(4096)]
    first, last = cluster.mount(cluster.sites[0]), cluster.mount(cluster.sites[-1])
    with open(f"{first}/file", "wb") as f:
        f.write(b"".join(pages))
        os.fsync(f.fileno())
    cluster.wait_healthy(30)
    cluster.stop()  # what is in journals goes to its place
    cluster.start()
    victims = cluster.of("core", cluster.sites[0])
    spoiled = sum(spoil(s, set(pages), 7) for s in victims)
    if spoiled < 100:
        raise Failure(f"only {spoiled} pages found to spoil; does the store still keep pages as they are?")
    with open(f"{first}/file", "rb") as f:
        if f.read(8 << 20) != b"".join(pages)[:8 << 20]:
            raise Failure("a spoiled page was returned")
    found = scrub(cluster)
    if found == 0:
        raise Failure("scrub found nothing bad among the pages that nobody read")
    wait_for("the repair of what it found",
             lambda: sum(r["bad_pages_now"] for r in reports(cluster)) == 0, 60, 0.2)
    cluster.wait_healthy(30)
    for _ in range(20):  # one bad page of a block may hide another until it is repaired
        if scrub(cluster) == 0:
            break
        cluster.wait_healthy(30)
    else:
        raise Failure("scrub finds bad pages again and again")
    for mount in (first, last):
        with open(f"{mount}/file", "rb") as f:
            if f.read() != b"".join(pages):
                raise Failure(f"{mount} reads other bytes after the repair")
    lose(cluster, first, last, pages)
    print(f"{spoiled} spoiled pages, {found} found by scrub; all read right, all repaired; one lost, and written")


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
