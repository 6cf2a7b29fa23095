"""A whole cluster of real servers on this machine, for the demo and the lab.

Every site is its own L3 network on the loopback device: site i uses 127.i.0.0/16. Servers are
ordinary processes with config files a person would write, all below one directory:

    DIR/<site>/<server>.conf   its configuration
    DIR/<site>/<server>/       its disk
    DIR/<site>/<server>.log    its log; .pid its process
    DIR/<site>/mnt             the datastore, mounted by the site's access server
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import isolate

SITES = ["hiroshima", "kanazawa", "nara", "osaka", "sapporo"]
PROGRAM = {"core": "distcloud-core", "hint": "distcloud-hint", "access": "distcloud-access"}
PORT = {"core": 7100, "hint": 7200, "access": 7300}


class Failure(Exception):
    """Something did not happen in time, or came out wrong; the text says what."""


def wait_for(what, condition, seconds=30.0, every=0.05):
    """Waits until condition() is true; its last value. Failure after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(every)


class Server:
    def __init__(self, cluster, site, kind, number):
        self.cluster, self.site, self.kind, self.number = cluster, site, kind, number
        index = SITES.index(site) + 1
        place = {"core": number, "hint": 9 - number, "access": 9}[kind]
        self.id = index * 10 + place
        self.name = kind + (str(number) if kind == "core" or number > 1 else "")
        self.address = f"127.{index}.0.{place}:{PORT[kind]}"
        self.base = os.path.join(cluster.root, site, self.name)
        self.directory = self.base  # its disk
        self.options = {}           # of this server alone, on top of its kind's
        self.process = None

    def __str__(self):
        return f"{self.site}/{self.name}"

    @property
    def config(self):
        return self.base + ".conf"

    @property
    def mount(self):
        return os.path.join(self.cluster.root, self.site, "mnt")

    def program(self):
        return os.path.join(self.cluster.bindir, PROGRAM[self.kind])

    def write_config(self):
        os.makedirs(self.directory, exist_ok=True)
        os.makedirs(os.path.dirname(self.base), exist_ok=True)
        program = PROGRAM[self.kind]
        lines = [f"# The {self.kind} server {self.name} of {self.site}; {program}(8) tells all keys.",
                 "# Written anew by every start of the demo or test: it keeps no edits.", ""]
        lines += self.cluster.common_config()
        lines += ["# This server. The site follows from the address.", "[server]",
                  f"id = {self.id}", f"kind = {self.kind}", f"listen = {self.address}",
                  f"directory = {self.directory}"]
        options = {**self.cluster.options.get(self.kind, {}), **self.options}
        lines += [f"{k} = {v}" for k, v in options.items()]
        if self.kind == "access":
            if not self.running(): # a stat on the mount of a fenced server waits for the majority
                self.prepare_mount()
            lines.append(f"mount = {self.mount}")
        with open(self.config, "w") as f:
            f.write("\n".join(lines) + "\n")

    def prepare_mount(self):
        """An empty directory, also where a killed server left its dead mount behind."""
        try:
            os.makedirs(self.mount, exist_ok=True)
            os.stat(self.mount)
        except OSError:
            subprocess.run(["umount", "-l", self.mount], stderr=subprocess.DEVNULL)
            os.makedirs(self.mount, exist_ok=True)

    def format(self):
        run([self.program(), "--config", self.config, "--format"])

    def check_address(self):
        host, port = self.address.split(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError as e:
                raise Failure(f"{self} cannot listen on {self.address}: {e.strerror}; another cluster "
                              f"on this machine? (sudo ss -ltnp 'sport = :{port}' names the process)"
                              ) from None

    def pid(self):
        """Its process, also when another run of this module started it; 0 if it is not there."""
        try:
            with open(self.base + ".pid") as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/cmdline") as f:
                return pid if self.config in f.read().split("\0") else 0
        except (OSError, ValueError):
            return 0

    def popen(self, argv, **kw):
        """Where the server's network is."""
        return subprocess.Popen(argv, start_new_session=True, **kw)

    def start(self):
        with open(self.base + ".log", "a") as log:
            self.process = self.popen([self.program(), "--config", self.config], stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log)
        with open(self.base + ".pid", "w") as f:
            f.write(f"{self.process.pid}\n")

    def running(self):
        if self.process is not None:
            return self.process.poll() is None
        return self.pid() != 0

    def signal(self, sig):
        pid = self.process.pid if self.process is not None else self.pid()
        if pid:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass

    def wait_gone(self, seconds=20):
        wait_for(f"{self} to end", lambda: not self.running(), seconds)
        self.process = None

    def kill(self):
        """As a power cut of this one server: no warning, at once."""
        self.signal(signal.SIGKILL)
        self.wait_gone()

    def stop(self, seconds=20):
        self.signal(signal.SIGTERM)
        self.wait_gone(seconds)

    def log_tail(self, lines=15):
        try:
            with open(self.base + ".log") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""


def run(args, well=(0,), **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if done.returncode not in well:
        raise Failure(f"{' '.join(args)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Cluster:
    def __init__(self, bindir, root, sites=3, cores=2, options=None, hints=()):
        """hints: how many a site has, one where it does not say. Behind the `sites` there may be more of
        them: witnesses, with hint servers alone."""
        self.bindir, self.root = os.path.abspath(bindir), os.path.abspath(root)
        self.sites = SITES[:sites]
        self.witnesses = SITES[sites:max(sites, len(hints))]
        self.options = {"core": {"capacity": "16GiB", "journal": "64MiB"}}
        self.options.update(options or {})
        self.servers = []
        for n, site in enumerate(self.sites + self.witnesses):
            self.servers += [Server(self, site, "hint", i + 1) for i in range(hints[n] if n < len(hints) else 1)]
            if site in self.sites:
                self.servers += [Server(self, site, "core", i + 1) for i in range(cores)]
                self.servers.append(Server(self, site, "access", 1))

    def of(self, kind=None, site=None):
        return [s for s in self.servers if kind in (None, s.kind) and site in (None, s.site)]

    def mount(self, site):
        return os.path.join(self.root, site, "mnt")

    def prefix(self, site):
        return f"127.{SITES.index(site) + 1}.0.0/16"

    def common_config(self):
        lines = ["# What all servers of the cluster share; the administrator's file is this part alone.",
                 "[cluster]", "id = 1", "name = demo", "",
                 "# A site is an L3 network. Its id is never used again."]
        for i, site in enumerate(self.sites + self.witnesses):
            lines += [f"[site {site}]", f"id = {i + 1}", f"prefixes = {self.prefix(site)}", ""]
        lines.append("# Hint servers by id: everybody finds the cluster through them.")
        for s in self.of("hint"):
            lines += [f"[hint {s.id}]", f"address = {s.address}", "vote = yes", ""]
        return lines

    def write_configs(self):
        for s in self.servers:
            s.write_config()
        with open(os.path.join(self.root, "distcloud.conf"), "w") as f:
            f.write("\n".join(self.common_config()))

    def formatted(self):
        return os.path.exists(os.path.join(self.root, "formatted"))

    def format(self):
        """Servers have not run before the last line: what an interrupted run left holds nothing."""
        for s in self.of("hint") + self.of("core"):
            shutil.rmtree(s.directory)
            s.format()
        with open(os.path.join(self.root, "formatted"), "w"):
            pass

    def start(self, seconds=30):
        """Writes configs, formats what is new, starts all servers; ready when all mounts are."""
        os.makedirs(self.root, exist_ok=True)
        for s in self.servers:
            if not s.running():
                s.check_address()
        self.write_configs()
        if not self.formatted():
            self.format()
        for s in self.servers:
            if not s.running():
                s.start()
        self.wait_mounted(seconds)

    def wait_mounted(self, seconds=30, sites=None):
        for site in sites or self.sites:
            wait_for(f"the mount of {site}", lambda: self.is_mounted(site), seconds)

    def is_mounted(self, site):
        ended = self.crashed()
        for s in self.of("access", site):
            if not s.running():
                ended.append(f"{s}:\n{s.log_tail()}")
        if ended:
            raise Failure("ended by themselves: " + "\n".join(ended))
        with open("/proc/self/mounts") as f:
            if not any(line.split()[1] == self.mount(site) for line in f):
                return False
        try:
            os.statvfs(self.mount(site))
            return True
        except OSError:
            return False

    def unmount_dead(self):
        for site in self.sites:
            subprocess.run(["umount", "-l", self.mount(site)], stderr=subprocess.DEVNULL)

    def stop(self, seconds=20):
        """Access servers first, so that they can write what is unwritten. The servers that did not
        end by themselves and were killed."""
        killed = []
        for kind in ("access", "core", "hint"):
            for s in self.of(kind):
                s.signal(signal.SIGTERM)
            for s in self.of(kind):
                try:
                    s.wait_gone(seconds)
                except Failure:
                    s.kill()
                    killed.append(s)
        self.unmount_dead()
        return killed

    def kill_all(self):
        """As a power cut of all sites at once."""
        for s in self.servers:
            s.signal(signal.SIGKILL)
        for s in self.servers:
            s.wait_gone()
        self.unmount_dead()

    def distcloud_argv(self, *args):
        return [os.path.join(self.bindir, "distcloud"), "--config", os.path.join(self.root, "distcloud.conf"),
                *args]

    def distcloud(self, *args, well=(0,)):
        return run(self.distcloud_argv(*args), well, timeout=30)

    def status(self):
        return json.loads(self.distcloud("status", "--json", well=(0, 1)))

    def health(self):
        """'healthy', or what is wrong, as `distcloud status` says it."""
        try:
            return self.status().get("health", "no health in status")
        except (Failure, ValueError, subprocess.TimeoutExpired) as e:
            return f"no status: {e}"

    def wait_healthy(self, seconds=60):
        last = [""]

        def healthy():
            last[0] = self.health()
            return last[0] == "healthy"
        try:
            wait_for("a healthy cluster", healthy, seconds, 0.2)
        except Failure:
            raise Failure(f"not healthy after {seconds} s: {last[0]}") from None

    def leader(self):
        """The hint server that leads, or None while nobody does."""
        try:
            leader = self.status().get("leader", 0)
        except (Failure, ValueError, subprocess.TimeoutExpired):
            return None
        return next((s for s in self.of("hint") if s.id == leader), None)

    def crashed(self):
        """Servers that ended by themselves, with the end of their logs."""
        return [f"{s}:\n{s.log_tail()}" for s in self.servers
                if s.process is not None and s.process.poll() is not None]


def clear(cluster):
    """Ends and removes what an earlier run left in the cluster's directory."""
    for s in cluster.servers:
        s.signal(signal.SIGKILL)
    for s in cluster.servers:
        s.wait_gone()
    cluster.unmount_dead()
    for site in cluster.sites:
        if os.path.ismount(cluster.mount(site)):
            raise Failure(f"{cluster.mount(site)} is still mounted; umount it first")
    shutil.rmtree(cluster.root, ignore_errors=True)


def on_terminated(_number, _frame):
    raise Failure("ended by SIGTERM")


def main_guard(test, cluster, prepare=None):
    """Runs test(cluster) on an empty directory and leaves the machine clean, also when it is ended by
    a signal; says 'ok' or what failed. Disks and logs stay after a failure, until the next run.
    prepare(cluster) comes first: it alone has the machine's network."""
    code = 1
    signal.signal(signal.SIGTERM, on_terminated)
    try:
        if prepare:
            prepare(cluster)
        try:
            isolate.isolate()
        except OSError as e:
            raise Failure(f"{e}; the lab runs as root, with the right to make namespaces") from None
        clear(cluster)
        test(cluster)
        crashed = cluster.crashed()
        if crashed:
            raise Failure("ended by themselves: " + "\n".join(crashed))
        print("ok")
        code = 0
    except Failure as e:
        print(f"FAILED: {e}", file=sys.stderr)
        for s in cluster.servers:
            print(f"--- {s}\n{s.log_tail(8)}", file=sys.stderr)
    finally:
        for s in cluster.servers:
            s.signal(signal.SIGKILL)
        cluster.unmount_dead()
    if code == 0:
        clear(cluster)
    return code
