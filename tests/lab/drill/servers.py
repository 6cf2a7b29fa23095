"""The real servers of a drill, each in its site's network: a Cluster for the faults of sites and servers.

    cluster = NetCluster(network)           what the topology says; its files below network.rundir
    cluster.start()                         formats what is new; ready when all sites have mounted
    cluster.remove()                        ends all servers at once, and unmounts
    cluster.disk(site, name)                where its own disk is mounted; None: it has none
    cluster.kill_server(site, name), .start_server(site, name), .signal_server(site, name, number)

Another process that has attached to the network may break and mend servers, too: what runs is in files."""

import os
import shutil
import signal

from cluster import PORT, PROGRAM, Cluster, Failure, Server, run

from . import disks

DIRECTORY = "sites"
ID_SITE = 100           # ids tell the site and the last byte of the address: 211 is core1 of the second
OPTIONS = {"core": {"capacity": "16GiB", "journal": "64MiB"}}


class NetServer(Server):
    def __init__(self, cluster, site, name, address):
        self.cluster, self.site, self.name = cluster, site, name
        self.kind, self.number = name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
        index = 1 + list(cluster.network.topology.sites).index(site)
        self.id = index * ID_SITE + int(address.rpartition(".")[2])
        self.address = f"{address}:{PORT[self.kind]}"
        self.base = os.path.join(cluster.root, site, name)
        self.directory = self.base
        self.options = {}
        self.process = None

    def check_address(self):
        """Its network is new."""

    def popen(self, argv, **kw):
        return self.cluster.network.popen(self.site, argv, **kw)


class NetCluster(Cluster):
    def __init__(self, network, options=None, own_disks=()):
        """options: {kind: {key: value}} of the servers' configurations; own_disks: (site, name) of those core
        servers that get one."""
        self.network, self.bindir = network, os.path.abspath(network.bindir)
        self.root = os.path.join(network.rundir, DIRECTORY)
        self.options = {kind: {**OPTIONS.get(kind, {}), **(options or {}).get(kind, {})} for kind in PROGRAM}
        self.servers = [NetServer(self, site, name, address)
                        for site, s in network.topology.sites.items() for name, address in s.addresses().items()]
        for s in self.servers:
            if (s.site, s.name) in own_disks or os.path.exists(s.base + ".img"):
                s.directory = os.path.join(s.base + ".disk", "server")
        self.sites = list(dict.fromkeys(s.site for s in self.of("access")))
        self.witnesses = [name for name in network.topology.sites if name not in self.sites]
        if not self.sites or not self.of("core") or not self.of("hint"):
            raise Failure(f"{network.topology.path_name}: a drill needs core, hint and access servers; give them to "
                          "its sites (core = 1, hint = 1, access = 1)")

    def start(self, seconds=30):
        for s in self.servers:
            if s.directory != s.base and not os.path.exists(s.base + ".img"):
                os.makedirs(os.path.dirname(s.base), exist_ok=True)
                disks.make(s.base + ".img", s.base + ".disk")
        super().start(seconds)

    def remove(self):
        self.kill_all()
        for s in self.servers:
            if s.directory != s.base:
                disks.remove(s.base + ".disk")

    def disk(self, site, name):
        s = self.server(site, name)
        return s.base + ".disk" if s.directory != s.base else None

    def prefix(self, site):
        return str(self.network.topology.sites[site].prefix)

    def distcloud_in(self, site, *args):
        """The command line that runs the administrator's command in a site."""
        return self.network.command(site, self.distcloud_argv(*args))

    def distcloud(self, *args, well=(0,)):
        return run(self.distcloud_in(self.sites[0], *args), well, timeout=30)

    # --- the faults' view ---

    def server(self, site, name):
        return next(s for s in self.servers if (s.site, s.name) == (site, name))

    def kill_server(self, site, name):
        s = self.server(site, name)
        s.signal(signal.SIGKILL)
        s.wait_gone()

    def start_server(self, site, name):
        s = self.server(site, name)
        if s.kind == "access":
            s.prepare_mount()
        s.start()

    def signal_server(self, site, name, number):
        self.server(site, name).signal(number)

    def wipe_server(self, site, name, again):
        """An empty disk in the place of its own; it runs again if `again`."""
        s = self.server(site, name)
        self.kill_server(site, name)
        shutil.rmtree(s.directory)
        os.makedirs(s.directory)
        s.format()
        if again:
            s.start()
