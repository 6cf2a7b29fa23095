#!/usr/bin/env python3
"""What an operator's scripts rely on: words, exit codes and JSON of `distcloud`, its errors for bad
input, for a dead site and for a minority; and what servers say to a wrong directory and a second
process.

usage: admin.py BINDIR DIRECTORY
"""

import json
import os
import signal
import subprocess
import sys
import time

from cluster import Cluster, Failure, main_guard, wait_for

GIB = 1 << 30


def call(cluster, *args, config=None, cwd=None, env=None):
    """(exit code, standard output, standard error) of distcloud."""
    command = [os.path.join(cluster.bindir, "distcloud")]
    if config != "":
        command += ["--config", config or os.path.join(cluster.root, "distcloud.conf")]
    done = subprocess.run(command + list(args), capture_output=True, text=True, timeout=60, cwd=cwd,
                          env=env)
    return done.returncode, done.stdout, done.stderr


def expect(what, condition, found):
    if not condition:
        raise Failure(f"{what}; found: {found}")


def expect_error(cluster, code, words, *args, **kw):
    got = call(cluster, *args, **kw)
    expect(f"distcloud {' '.join(args)} must end with {code} and say {words}",
           got[0] == code and not got[1] and all(w in got[2] for w in words), got)


def get_json(cluster, *args, code=0):
    got = call(cluster, *args, "--json")
    expect(f"distcloud {' '.join(args)} --json must end with {code}", got[0] == code, got)
    return json.loads(got[1])


def check_keys(what, value, keys):
    for key, kind in keys.items():
        expect(f"{what} must have {key} of {kind}", isinstance(value.get(key), kind), value)


def usage(cluster):
    for args in ((), ("foo",), ("file",), ("file", "show"), ("status", "more"), ("--bogus",),
                 ("format",), ("--timeout", "x", "status")):
        got = call(cluster, *args)
        expect(f"distcloud {args} is wrong usage and says so", got[0] == 64 and got[2], got)
    for words in ("", "status", "file show", "site list", "server list", "scrub", "scrub status",
                  "format", "init"):
        got = call(cluster, *words.split(), "--help")
        expect(f"{words} --help helps", got[0] == 0 and f"usage: distcloud {words}".strip() in got[1] and
               "exit codes" in got[1], got)


def bad_configs(cluster):
    own = os.path.join(cluster.root, "distcloud.conf")
    nara = cluster.sites[2]
    expect_error(cluster, 2, ["/nope", "No such file"], "status", config="/nope")
    expect_error(cluster, 2, ["Is a directory"], "status", config=cluster.root)
    expect_error(cluster, 2, ["before the first [section]"], "status", config=__file__)
    expect_error(cluster, 2, ["/nope", "No such file"], "format", "/nope")
    expect_error(cluster, 2, ["no [server] section"], "format", own)
    expect_error(cluster, 2, ["needs no format"], "init", cluster.of("access")[0].config)
    for server in cluster.of("core", nara)[0], cluster.of("hint", nara)[0]:
        expect_error(cluster, 2, [server.base, "in use by another process"], "format", server.config)
    with open(own) as f:
        text = f.read()
    wrong = os.path.join(cluster.root, "wrong.conf")
    for old, new, said in ((":7200", ":7999", "no connection"), ("id = 1\nname", "id = 7\nname", "to another cluster")):
        with open(wrong, "w") as f:
            f.write(text.replace(old, new))
        expect_error(cluster, 2, ["no leader that answered", "hint server 18 at 127.1.0.8", said,
                                  "2 of 3 votes"], "--timeout", "1s", "status", config=wrong)
    os.remove(wrong)


def healthy_status(cluster):
    status = get_json(cluster, "status")
    check_keys("status", status, {"health": str, "leader": int, "term": int, "map": int, "margin": int,
                                  "incarnation": int, "votes": list, "sites": list, "servers": list,
                                  "files": dict, "warnings": list})
    check_keys("files", status["files"], {"total": int, "held": int, "stale": int, "unclean": int,
                                          "orphans": int, "attention": list})
    kinds = [s["kind"] for s in status["servers"]]
    expect("all servers are there", (kinds.count("core"), kinds.count("access"), kinds.count("hint")) ==
           (6, 3, 3), kinds)
    sites = get_json(cluster, "site", "list")
    expect("three sites with their space", [s["name"] for s in sites] == cluster.sites and
           all(0 < s["free"] <= s["total"] <= 32 * GIB and s["up"] == 4 for s in sites), sites)
    if os.statvfs(cluster.root).f_bavail * os.statvfs(cluster.root).f_frsize > 40 * GIB:
        expect("all of the capacities", {s["total"] for s in sites} == {32 * GIB}, sites)
    expect("server list is the status' list", [s["id"] for s in get_json(cluster, "server", "list")] ==
           [s["id"] for s in status["servers"]], status)
    for words in ("status", "site list", "server list"):
        got = call(cluster, *words.split())
        expect(f"{words} names every site", got[0] == 0 and all(s in got[1] for s in cluster.sites), got)
    environment = dict(os.environ, DISTCLOUD_CONFIG=os.path.join(cluster.root, "distcloud.conf"))
    expect("DISTCLOUD_CONFIG names the cluster", call(cluster, "status", config="", env=environment)[0] == 0,
           environment)


def file_show(cluster):
    mount = cluster.mount(cluster.sites[0])
    os.makedirs(f"{mount}/dir")
    with open(f"{mount}/dir/file", "wb") as f:
        f.write(os.urandom(9 << 20))
    file = get_json(cluster, "file", "show", "/dir/file")
    check_keys("file show", file, {"path": str, "ino": int, "size": int, "size_from": str, "home": str,
                                   "sites": list, "holder": int, "epoch": int, "blocks": list,
                                   "stale_runs": list, "state": list, "block_bytes": int})
    expect("the writer tells the size", (file["size"], file["size_from"], file["holder"]) ==
           (9 << 20, "holder", cluster.of("access")[0].id), file)
    os.sync()
    file = get_json(cluster, "file", "show", f"{mount}/dir/../dir//file")
    expect("nothing is unflushed, three replicas", file["unflushed_bytes"] == 0 and
           sum(b["bytes"] or 0 for b in file["blocks"]) >= 2 * (9 << 20), file)
    got = call(cluster, "file", "show", "../dir/file", cwd=f"{mount}/dir")
    expect("a relative path inside the mount", got[0] == 0 and "9.0 MiB" in got[1], got)
    got = call(cluster, "file", "show", "/dir")
    expect("a directory has no replicas to show", got[0] == 0 and "directory" in got[1] and
           "core server" not in got[1], got)
    expect_error(cluster, 2, ["/nope", "no such file", "root"], "file", "show", "/nope")
    expect_error(cluster, 2, [f"{mount}/nope", "/nope in the datastore"], "file", "show", f"{mount}/nope")
    expect_error(cluster, 2, ["no such file"], "file", "show", "/dir/file/below")


def silent_writer(cluster):
    """A size that nobody can vouch for is shown as what it is."""
    holder = cluster.of("access")[0]
    holder.signal(signal.SIGSTOP)
    try:
        file = get_json(cluster, "file", "show", "/dir/file")
        expect("the size is as of the lease", file["size_from"] == "lease", file)
        got = call(cluster, "file", "show", "/dir/file")
        expect("and the text says so", "the writer does not answer" in got[1], got)
    finally:
        holder.signal(signal.SIGCONT)


def scrub(cluster):
    expect("every core server starts", all(s["started"] for s in get_json(cluster, "scrub")), "no")
    wait_for("the scrub to end", lambda: all(
        s["answered"] and not s["running"] and s["bad_pages_now"] == 0
        for s in get_json(cluster, "scrub", "status")), 20)


def second_process(cluster):
    """Each kind refuses a directory that another process uses."""
    for kind in ("core", "hint", "access"):
        server = cluster.of(kind)[0]
        done = subprocess.run([server.program(), "--config", server.config], capture_output=True, text=True,
                              timeout=20)
        expect(f"a second {kind} server on one directory is refused", done.returncode == 1 and
               "in use by another process" in done.stderr, done)
    expect("and the first ones are well", call(cluster, "status")[0] == 0, call(cluster, "status"))


def log_of(server):
    with open(server.base + ".log") as f:
        return f.read()


def foreign_directory(cluster):
    """A directory of another server or cluster is refused by name, and not changed."""
    for kind in ("core", "hint"):
        server = cluster.of(kind, cluster.sites[2])[0]
        server.stop()
        other = server.config + ".other"
        with open(server.config) as f:
            text = f.read()
        with open(other, "w") as f:
            f.write(text.replace("id = 1\nname", "id = 2\nname"))
        done = subprocess.run([server.program(), "--config", other], capture_output=True, text=True, timeout=20)
        expect(f"a {kind} server refuses the directory of another cluster", done.returncode == 1 and
               "cluster" in done.stderr, done)
        os.remove(other)
        server.start()
        wait_for(f"{server} to be up again", lambda: log_of(server).count(f"{kind}.up") == 2)
    cluster.wait_healthy(30)


def dead_site(cluster):
    site = cluster.sites[2]
    for s in cluster.of(site=site):
        s.kill()
    wait_for("exit code 1 of status", lambda: call(cluster, "status")[0] == 1)
    text = lambda: call(cluster, "status")[1]
    wait_for("the dead site's servers in the status", lambda: all(
        f"server {s.id} is" in text() for s in cluster.of(site=site)))
    expect("JSON has the same exit code", call(cluster, "status", "--json")[0] == 1, "not")
    rows = get_json(cluster, "file", "show", "/dir/file")["blocks"]
    expect("dead core servers have no answer", sum(r["blocks"] is None for r in rows) == 2, rows)
    expect("scrub says that two are missing", sum(not s["started"] for s in get_json(cluster, "scrub", code=1))
           == 2, "not two")
    for s in cluster.of("core", cluster.sites[1]):
        s.kill()
    wait_for("the files of two dead sites in the status",
             lambda: f"files with two replicas in {cluster.sites[1]}, {site} wait" in text())


def minority(cluster):
    cluster.of("hint", cluster.sites[1])[0].kill()
    wait_for("the leader to notice that it is alone",
             lambda: call(cluster, "--timeout", "1s", "status")[0] == 2)
    began = time.monotonic()
    for args in (("status",), ("file", "show", "/dir/file"), ("site", "list"), ("scrub",)):
        expect_error(cluster, 2, ["no leader that answered within 1 s", "runs, but finds no leader",
                                  "no connection"], "--timeout", "1s", *args)
    expect("the time to look for a leader is kept", time.monotonic() - began < 20, "longer")


def test(cluster):
    cluster.start()
    cluster.wait_healthy(30)
    usage(cluster)
    bad_configs(cluster)
    healthy_status(cluster)
    file_show(cluster)
    silent_writer(cluster)
    scrub(cluster)
    second_process(cluster)
    foreign_directory(cluster)
    dead_site(cluster)
    minority(cluster)
    cluster.start()
    cluster.wait_healthy(60)
    expect("all is well again", call(cluster, "status")[0] == 0, call(cluster, "status"))


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2])))
