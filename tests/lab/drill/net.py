"""The network of a drill on this machine: a namespace for each site and each router, real forwarding
and BGP (bird) in the routers, and links that distcloud-wan delays and drops.

    with net.Network(topology.load(path), rundir, bindir) as n:
        n.wait_converged(30)
        n.popen("nara", ["distcloud-core", ...])

    Network(topology, rundir, bindir)   rundir: an existing or new directory for sockets and logs;
                                        bindir: where distcloud-wan is
    .up(), .down()          what the context manager does; down() ends every process of the run and
                            removes the namespaces, whatever state they are in
    .command(where, argv)   argv that runs in a site or router (`where` is its name), in the
                            caller's mounts
    .popen(where, argv, **kw)   as subprocess.Popen; also in a session of its own and marked, so that
                            cleanup finds it when the run was killed
    .addresses(site)        {server name: address}: core1, core2, hint1, access1; "host" is the
                            site's own, for programs that are no servers
    .wait_converged(seconds)    until every site reaches every other and routes stand still; Failure
    .ping(a, b)             seconds of one echo between two sites or routers, None: no answer in time
    .rtt(a, b)              the least of three; None if none came back
    .pings(pairs, count=1)  {pair: seconds or None}, all asked at the same time
    .reachable(pairs)       the pairs that answer now
    .path(a, b)             the routers on the way between two sites as the kernels' routes say now;
                            ends with "unreachable" or "loop" where they do not lead there
    .state()                all of it for a report, as JSON could have it: links with their conditions
                            and counters, routes, BGP sessions, interfaces, active faults
    .broken()               sentences about what ended of itself; a run without any was a good one
    .faults                 the ledger of active faults: .active(), .clear(); faults.py makes them

A Network belongs to the process that made it; `Network.attach(rundir)` is the same network for
another process: everything but up() and down() works there too."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from signal import SIG_IGN, SIGINT, signal

from cluster import Failure

from . import breakable  # noqa: F401 - the ledger knows its kinds
from . import bird, cleanup, ledger, netns, run_id, topology, wan

PINGS_AT_ONCE = 40
OWNER_FILE = "network.json"


def read_owner(rundir):
    """What the run that owns this directory says about itself; None: there is none."""
    try:
        with open(os.path.join(rundir, OWNER_FILE)) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


class Network:
    def __init__(self, topology, rundir, bindir="build/release/bin"):
        self.topology, self.rundir, self.bindir = topology, os.path.abspath(rundir), bindir
        self.run, self.wan, self.birds = run_id.new(), wan.Wan(self.rundir), {}
        self.faults = ledger.Ledger(self)

    @classmethod
    def attach(cls, rundir):
        """The network that another process runs with this rundir; Failure if there is none."""
        said = read_owner(rundir)
        if not said:
            raise Failure(f"{rundir}: no network of a drill runs here")
        network = cls(topology.load(said["topology"]), rundir, said["bindir"])
        network.run = said["run"]
        if not run_id.owner_lives(network.run):
            raise Failure(f"{rundir}: the drill that ran here (process {network.run.split('.')[0]}) was "
                          "killed; cleanup removes what is left of it")
        return network

    # --- names ---

    def namespace(self, where):
        if where not in self.topology.sites and where not in self.topology.routers:
            raise Failure(f"there is no site or router {where}; sites: {', '.join(self.topology.sites)}; "
                          f"routers: {', '.join(self.topology.routers)}")
        return f"{run_id.PREFIX}{self.run.split('.')[0]}-{where}"

    def places(self):
        return [*self.topology.sites, *self.topology.routers]

    def addresses(self, site):
        self.namespace(site)
        s = self.topology.sites[site]
        return {"host": s.host, **s.addresses()}

    def address(self, where):
        self.namespace(where)
        site = self.topology.sites.get(where)
        return site.host if site else self.topology.routers[where].address

    def command(self, where, argv):
        return netns.inside(self.namespace(where), argv)

    def popen(self, where, argv, **kw):
        kw["env"] = run_id.environment(self.run, kw.get("env"))
        kw.setdefault("start_new_session", True)
        return subprocess.Popen(self.command(where, argv), **kw)

    # --- up and down ---

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.down()

    def up(self):
        """All of it, from nothing; on any failure it is gone again."""
        if os.geteuid() != 0:
            raise Failure("the lab makes network namespaces: run it as root")
        for program in ("ip", "ping", "bird", "birdc", "nsenter", "sysctl"):
            if not shutil.which(program):
                raise Failure(f"there is no {program}; .ci/install-packages installs it")
        self.take_rundir()
        try:
            with open(os.path.join(self.rundir, OWNER_FILE), "w") as f:
                json.dump({"run": self.run, "topology": os.path.abspath(self.topology.path_name),
                           "bindir": os.path.abspath(self.bindir)}, f)
            netns.batch([f"netns add {self.namespace(w)}" for w in self.places()])
            self.make_devices()
            for where in self.places():
                self.configure(where)
            for router in self.topology.routers:
                self.start_bird(router)
        except BaseException:
            self.down()
            raise

    def take_rundir(self):
        """Removes what a killed run of this directory has left; Failure while one lives."""
        os.makedirs(self.rundir, exist_ok=True)
        before = read_owner(self.rundir)
        if before and run_id.owner_lives(before["run"]):
            raise Failure(f"{self.rundir}: a network of process {before['run'].split('.')[0]} runs here")
        if before:
            mounts = [m for m in cleanup.stale_mounts() if m.startswith(self.rundir + os.sep)]
            for place in mounts:
                cleanup.thaw(place)
            cleanup.remove(before["run"])
            cleanup.unmount(mounts)
        shutil.rmtree(os.path.join(self.rundir, "bird"), ignore_errors=True)
        for name in (wan.SOCKET, ledger.FILE):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.rundir, name))

    def make_devices(self):
        self.wan.start(self.bindir, self.run)
        for link in self.topology.links.values():
            ends = [f"{netns.path(self.namespace(link.ends[i]))} to-{link.ends[1 - i]}" for i in (0, 1)]
            self.wan.ask(f"link {link.name} {ends[0]} {ends[1]}")
            for direction in (0, 1):
                self.wan.set(link.name, direction, **self.base_conditions(link))
        netns.batch([f"link add to-{s.name} netns {self.namespace(s.router)} type veth "
                     f"peer name uplink netns {self.namespace(s.name)}"
                     for s in self.topology.sites.values()])

    @staticmethod
    def base_conditions(link):
        return {"delay": link.delay, "jitter": link.jitter, "queue": link.queue, "rate": link.rate,
                "loss": link.loss, "duplicate": 0, "corrupt": 0}

    def configure(self, where):
        """Addresses, default routes and what a router needs to be one."""
        name, site = self.namespace(where), self.topology.sites.get(where)
        settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        lines = ["link set lo up"]
        if site:
            length = site.prefix.prefixlen
            lines += [f"addr add {a}/{length} dev uplink" for a in self.addresses(where).values()]
            lines += ["link set uplink up", f"route add default via {site.gateway}"]
        else:
            # An answer may take another way than the question.
            settings += ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                         "net.ipv4.conf.default.rp_filter=0"]
            lines.append(f"addr add {self.address(where)}/32 dev lo")
            for s in self.topology.sites_of(where):
                lines += [f"addr add {s.gateway}/{s.prefix.prefixlen} dev to-{s.name}",
                          f"link set to-{s.name} up"]
            for link in self.topology.links_of(where):
                device = f"to-{link.other(where)}"
                # A long queue: what the forwarder has not read yet because it was busy is not lost.
                lines += [f"addr add {link.address(link.ends.index(where))}/31 dev {device}",
                          f"link set {device} txqueuelen 5000 up"]
        netns.sysctl(name, settings)
        netns.batch(lines, name)

    def start_bird(self, router):
        self.birds[router] = bird.start(self, router)

    def down(self):
        """Leaves nothing, whatever there is; a second Ctrl-C does not stop it half-way."""
        main = threading.current_thread() is threading.main_thread()
        before = signal(SIGINT, SIG_IGN) if main else None
        failed = []
        try:
            try:
                self.faults.forget()
            except Failure as e:    # a disk that stays full must not keep the network here
                failed.append(str(e))
            ours = [pid for pid, run in run_id.processes().items() if run == self.run]
            left = run_id.kill([p for p in ours if not self.wan.process or p != self.wan.process.pid])
            for process in self.birds.values():
                process.poll()      # no zombies
            self.birds = {}
            failed += filter(None, [self.wan.stop()])
            here = netns.names()
            for where in self.places():
                if self.namespace(where) in here:
                    netns.remove(self.namespace(where))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.rundir, OWNER_FILE))
            if left:
                failed.append(f"processes {left} did not end after SIGKILL")
            if failed:
                raise Failure("; ".join(failed))
        finally:
            if main:
                signal(SIGINT, before)

    # --- what works ---

    def broken(self):
        """Sentences about parts of the network that ended though no fault wants them to."""
        said = []
        for router in self.topology.routers:
            ours = self.birds.get(router)   # another process may have started its latest one
            if self.faults.now("bird", router) == "running" and not bird.pid(self, router) and \
                    (not ours or ours.poll() is not None):
                said.append(f"the bird of {router} ended: {bird.last_words(self, router)}")
        try:
            self.wan.ask("show")
        except Failure as e:
            said.append(str(e))
        return said

    def start_ping(self, a, b, count, timeout):
        argv = ["ping", "-n", "-q", "-c", count, "-i", 0.2, "-W", timeout, "-I", self.address(a),
                self.address(b)]
        return self.popen(a, argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    @staticmethod
    def end_ping(process):
        said = process.communicate()[0]
        if process.returncode != 0:
            return None
        return float(said.rpartition("= ")[2].split("/")[0]) / 1e3

    def ping(self, a, b, timeout=1.0):
        return self.end_ping(self.start_ping(a, b, 1, timeout))

    def rtt(self, a, b):
        return self.end_ping(self.start_ping(a, b, 3, 1.0))

    def pings(self, pairs, count=1, timeout=1.0):
        """{pair: the least round trip in seconds, None: no answer}, all asked at the same time."""
        found = {}
        for i in range(0, len(pairs), PINGS_AT_ONCE):
            started = [(p, self.start_ping(*p, count, timeout)) for p in pairs[i:i + PINGS_AT_ONCE]]
            found.update((pair, self.end_ping(process)) for pair, process in started)
        return found

    def reachable(self, pairs, timeout=1.0):
        return [pair for pair, rtt in self.pings(pairs, 1, timeout).items() if rtt is not None]

    def pairs(self):
        sites = list(self.topology.sites)
        return [(a, b) for a in sites for b in sites if a != b]

    def wait_converged(self, seconds=30.0):
        end, routes, missing = time.monotonic() + seconds, None, self.pairs()
        while True:
            before, routes = routes, self.routes()
            asked = missing or self.pairs()
            answered = set(self.reachable(asked))
            missing = [pair for pair in asked if pair not in answered]
            idle = self.sessions_missing()
            if self.broken():
                raise Failure("; ".join(self.broken()))
            if not missing and routes == before and not idle:
                return
            if time.monotonic() > end:
                wrong = [f"{a} does not reach {b}" for a, b in missing[:4]] + \
                    [f"{a} has no BGP session with {b}" for a, b in idle[:4]]
                raise Failure(f"after {seconds:g} s " + (", ".join(wrong) or "routes still change"))
            time.sleep(0.1)

    def sessions_missing(self):
        """[(router, neighbour)] that BGP has still to bring together; none are due during a fault."""
        if self.faults.active():
            return []
        return [(r, n) for r in self.topology.routers for n, state in bird.sessions(self, r).items()
                if state != "Established"]

    def routes(self):
        """{router: {site: the neighbour it sends to, "here", "blackhole" or "none"}}"""
        return {router: self.routes_of(router) for router in self.topology.routers}

    def routes_of(self, router):
        """A route for the first half of a site's prefix is a forced one, see breakable.py."""
        whole = {str(s.prefix): s.name for s in self.topology.sites.values()}
        forced = {str(next(s.prefix.subnets())): s.name for s in self.topology.sites.values()}
        table = dict.fromkeys(whole.values(), "none")
        routes = netns.ip_json(self.namespace(router), "route", "show")
        for sites in (whole, forced):
            for r in routes:
                site = sites.get(r["dst"])
                if site and "linkdown" not in r.get("flags", []):
                    table[site] = r["dev"][len("to-"):] if "dev" in r else r["type"]
                    table[site] = "here" if table[site] == site else table[site]
        return table

    def path(self, a, b, routes=None):
        """routes: those of an earlier routes()."""
        routes, router, path = routes or self.routes(), self.topology.sites[a].router, []
        while True:
            if router in path:
                return path + ["loop"]
            path.append(router)
            following = routes[router][b]
            if following == "here":
                return path
            if following not in routes:
                return path + ["unreachable"]
            router = following

    def interfaces(self, router):
        """{interface: "up", "down" (by a person), "no carrier" (cut)}"""
        found = {}
        for i in netns.ip_json(self.namespace(router), "link", "show"):
            if i["ifname"].startswith("to-"):
                up, carrier = "UP" in i["flags"], "LOWER_UP" in i["flags"]
                found[i["ifname"]] = "down" if not up else "up" if carrier else "no carrier"
        return found

    def state(self):
        links = {name: [{"to": self.topology.links[name].ends[1 - i], **ways[i]} for i in (0, 1)]
                 for name, ways in self.wan.show().items()}
        return {"time": time.time(), "links": links, "routes": self.routes(),
                "bgp": {r: bird.sessions(self, r) for r in self.topology.routers},
                "interfaces": {r: self.interfaces(r) for r in self.topology.routers},
                "faults": self.faults.active()}
