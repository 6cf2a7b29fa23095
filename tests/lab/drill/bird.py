"""Dynamic routing: a bird in every router speaks BGP with its neighbours."""

import os
import subprocess

from . import run_id

KERNEL_METRIC = 32  # of the routes that bird makes; forced ones have a lower one


def protocol(neighbour):
    return "to_" + neighbour.replace("-", "_")


def config(topology, name):
    router = topology.routers[name]
    local = ['"lo"'] + [f'"to-{site.name}"' for site in topology.sites_of(name)]
    lines = [f"# The router {name} of {topology.path_name}; written by every start of the network.",
             f'log "{name}.log" all;', f"router id {router.address};",
             "protocol device { scan time 2; }",
             f"protocol direct {{ ipv4; interface {', '.join(local)}; }}",
             "protocol kernel { ipv4 { import none; export filter {",
             f"  if source != RTS_BGP then reject; krt_prefsrc = {router.address}; accept; }}; }}; }}"]
    if topology.bfd:
        interval, times = topology.bfd
        lines.append(f'protocol bfd {{ interface "*" {{ interval {interval * 1e3:.0f} ms; '
                     f"multiplier {times}; }}; }}")
    for link in topology.links_of(name):
        end = link.ends.index(name)
        other = topology.routers[link.ends[1 - end]]
        lines += [f"protocol bgp {protocol(other.name)} {{",
                  f"  local {link.address(end)} as {router.asn};",
                  f"  neighbor {link.address(1 - end)} as {other.asn};",
                  f"  hold time {topology.hold:.0f}; keepalive time {max(1, topology.hold // 3):.0f};",
                  "  connect delay time 0; connect retry time 1; error wait time 1, 1;",
                  *(["  bfd on;"] if topology.bfd else []),
                  "  ipv4 { import all; next hop self;",
                  "    export where source = RTS_DEVICE || source = RTS_BGP; }; }"]
    return "\n".join(lines) + "\n"


def start(network, name):
    """The bird of a router, which runs until it is killed; its log and socket are in rundir/bird."""
    directory = os.path.join(network.rundir, "bird")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name + ".conf"), "w") as f:
        f.write(config(network.topology, name))
    with open(os.path.join(directory, name + ".out"), "a") as out:
        return network.popen(name, ["bird", "-f", "-c", name + ".conf", "-s", name + ".ctl", "-P",
                                    name + ".pid"], cwd=directory, stdin=subprocess.DEVNULL,
                             stdout=out, stderr=out)


def last_words(network, name):
    with open(os.path.join(network.rundir, "bird", name + ".out")) as f:
        return f.read().strip() or f"see {f.name[:-4]}.log"


def pid(network, name):
    """Of the router's bird; 0: none runs."""
    try:
        with open(os.path.join(network.rundir, "bird", name + ".pid")) as f:
            found = int(f.read())
    except (OSError, ValueError):
        return 0
    return found if run_id.processes().get(found) == network.run else 0


def control(network, name, *words):
    """What birdc says; None while no bird answers."""
    done = subprocess.run(["birdc", "-s", name + ".ctl", *words], capture_output=True, text=True,
                          cwd=os.path.join(network.rundir, "bird"))
    return done.stdout if done.returncode == 0 else None


def sessions(network, name):
    """{neighbour: "Established" or what else the session is}"""
    said = control(network, name, "show", "protocols") or ""
    rows = [line.split(None, 5) for line in said.splitlines() if " BGP " in line]
    state = {row[0]: " ".join(row[5].split()) if len(row) > 5 else row[3] for row in rows}
    return {n: state.get(protocol(n), "no bird") for n in network.topology.neighbours(name)}
