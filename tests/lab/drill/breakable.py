"""What faults can break in the network, and how each is enforced; see ledger.py for the terms.

    ("interface", router, device)          "up", "down"
    ("cable", link)                        "whole", "cut"
    ("link", link, direction, condition)   seconds, bits a second or a part of one; conditions as in wan.py
    ("route", router, site)                null; a neighbour or "blackhole": forced, stronger than BGP
    ("bird", router)                       "running", "stopped"
    ("flap", router, neighbour)            null; seconds of a period in which the session goes and comes
    ("server", site, server)               "running", "paused", "killed": by the cluster given to apply()

A cluster is an object with kill_server(site, name), start_server(site, name) and
signal_server(site, name, number)."""

import os
import signal
import subprocess

from cluster import Failure

from . import background, bird, run_id
from .ledger import Kind, register

FORCED_METRIC = 1


def in_router(network, router, *words, missing_is_fine=False):
    done = subprocess.run(["ip", "-n", network.namespace(router), *words], capture_output=True, text=True)
    if done.returncode != 0 and not missing_is_fine:
        raise Failure(f"{router}: ip {' '.join(words)}: {done.stderr.strip()}")


def set_interface(network, _cluster, key, _old, new):
    _, router, device = key
    in_router(network, router, "link", "set", device, new)
    if new == "up":     # the kernel has dropped the forced routes over it
        for site in network.topology.sites:
            forced = network.faults.now("route", router, site)
            if device == f"to-{forced}":
                set_route(network, None, ("route", router, site), None, forced)


def set_cable(network, _cluster, key, _old, new):
    network.wan.ask(f"{'cut' if new == 'cut' else 'join'} {key[1]}")


def nature_of_link(network, key):
    _, link, _, condition = key
    return network.base_conditions(network.topology.links[link])[condition]


def set_link(network, _cluster, key, _old, new):
    _, link, direction, condition = key
    network.wan.set(link, direction, **{condition: new})


def set_route(network, _cluster, key, _old, new):
    """Forced routes are for the two halves of the prefix: they win over any route for the whole, also
    over that of a router's own site, and bird does not touch them."""
    _, router, site = key
    for half in network.topology.sites[site].prefix.subnets():
        in_router(network, router, "route", "del", str(half), "metric", str(FORCED_METRIC),
                  missing_is_fine=True)
        if new is None:
            continue
        if new == "blackhole":
            words = ["blackhole", str(half)]
        else:
            link = network.topology.link_between(router, new)
            words = [str(half), "via", link.address(link.ends.index(new)), "dev", f"to-{new}"]
            if network.faults.now("interface", router, f"to-{new}") == "down":
                continue        # set_interface() makes it when that is up again
        in_router(network, router, "route", "add", *words, "metric", str(FORCED_METRIC))


def set_bird(network, _cluster, key, _old, new):
    router = key[1]
    pid = bird.pid(network, router)
    if new == "stopped" and pid:
        run_id.kill([pid])
    elif new == "running" and not pid:
        network.start_bird(router)


def flap_file(network, router, neighbour):
    return os.path.join(network.rundir, "bird", f"flap-{router}-{neighbour}.pid")


def set_flap(network, _cluster, key, old, new):
    """A shell beside the router's bird."""
    _, router, neighbour = key
    path, session = flap_file(network, router, neighbour), bird.protocol(neighbour)
    if old is not None:
        background.end(network, path)
        bird.control(network, router, "enable", session)
    if new is not None:
        control = f"birdc -s {router}.ctl"
        background.start(network, router, f"while :; do {control} disable {session}; sleep {new / 2}; "
                         f"{control} enable {session}; sleep {new / 2}; done", path, os.path.dirname(path))


def set_server(network, cluster, key, old, new):
    _, site, name = key
    if cluster is None:
        raise Failure(f"{site}/{name}: no servers run in this network")
    if new == "killed":
        cluster.kill_server(site, name)
        return
    if old == "killed":
        cluster.start_server(site, name)
    cluster.signal_server(site, name, signal.SIGSTOP if new == "paused" else signal.SIGCONT)


def worst_of(*order):
    return lambda values: max(values, key=order.index)


register("interface", Kind(lambda _n, _k: "up", set_interface))
register("cable", Kind(lambda _n, _k: "whole", set_cable))
register("link", Kind(nature_of_link, set_link))
register("route", Kind(lambda _n, _k: None, set_route))
register("bird", Kind(lambda _n, _k: "running", set_bird))
register("flap", Kind(lambda _n, _k: None, set_flap))
register("server", Kind(lambda _n, _k: "running", set_server, worst_of("running", "paused", "killed")))
