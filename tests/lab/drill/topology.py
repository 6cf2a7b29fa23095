"""The network of a drill as a file describes it: sites, routers, links. README.md tells the format.

    t = topology.load(path)
    t.sites, t.routers, t.links      dicts by name; the order is the file's
    t.find_link("nara-osaka")        the link, and its direction from nara to osaka: 0 or 1
    t.path(site_a, site_b)           router names of the way with the fewest links; t.rtt() its round trip
"""

import ipaddress
import re
from collections import deque
from dataclasses import dataclass, field

from cluster import Failure

from . import ini, units

NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")   # an interface "to-NAME" has at most 15 characters
KINDS = ("core", "hint", "access")
SERVERS_MAX = 9
SERVER_PLACE = {"core": 10, "hint": 20, "access": 30}   # last byte of the address: core2 has 12
HOST_PLACE = 1                                          # the site's own address, for its programs
OURS = ipaddress.ip_network("10.254.0.0/15")            # links and loopbacks of routers
ROUTERS_MAX = 250


@dataclass
class Router:
    name: str
    asn: int
    number: int                  # counts from 1

    @property
    def address(self):
        return f"10.255.0.{self.number}"


@dataclass
class Site:
    name: str
    prefix: ipaddress.IPv4Network
    router: str
    servers: dict                # kind: how many

    @property
    def gateway(self):
        return str(self.prefix.broadcast_address - 1)

    @property
    def host(self):
        return str(self.prefix.network_address + HOST_PLACE)

    def addresses(self):
        """Server name (core1, hint2, access1): address."""
        return {f"{kind}{i}": str(self.prefix.network_address + SERVER_PLACE[kind] + i)
                for kind in KINDS for i in range(1, self.servers[kind] + 1)}


@dataclass
class Link:
    ends: tuple                  # two router names
    number: int                  # counts from 0
    delay: float                 # seconds one way
    jitter: float
    rate: int                    # bits a second, 0: unlimited
    loss: float                  # 0 ... 1
    queue: float                 # seconds

    @property
    def name(self):
        return "-".join(self.ends)

    def address(self, end):
        """Of the router at end 0 or 1; the two make a /31."""
        return str(ipaddress.ip_address("10.254.0.0") + self.number * 2 + end)

    def other(self, router):
        return self.ends[1] if self.ends[0] == router else self.ends[0]


@dataclass
class Topology:
    path_name: str
    sites: dict = field(default_factory=dict)
    routers: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)
    hold: float = 9.0            # BGP
    bfd: tuple = (0.3, 3)        # interval in seconds, how many may be missed; None: off

    def links_of(self, router):
        return [link for link in self.links.values() if router in link.ends]

    def neighbours(self, router):
        return [link.other(router) for link in self.links_of(router)]

    def sites_of(self, router):
        return [site for site in self.sites.values() if site.router == router]

    def link_between(self, a, b):
        return next((link for link in self.links_of(a) if link.other(a) == b), None)

    def find_link(self, name):
        """(link, direction) for "a-b"; direction 0 leads from the link's first end."""
        for link in self.links.values():
            if name == link.name:
                return link, 0
            if name == "-".join(reversed(link.ends)):
                return link, 1
        raise Failure(f"there is no link {name}; there are {', '.join(self.links)}")

    def path(self, site_a, site_b):
        first, last = self.sites[site_a].router, self.sites[site_b].router
        before, reached = {first: None}, deque([first])
        while reached:
            router = reached.popleft()
            for other in self.neighbours(router):
                if other not in before:
                    before[other] = router
                    reached.append(other)
        path = [last] if last in before else []
        while path and before[path[0]]:
            path.insert(0, before[path[0]])
        return path

    def rtt(self, site_a, site_b):
        """Seconds, as configured, along path()."""
        path = self.path(site_a, site_b)
        return sum(2 * self.link_between(a, b).delay for a, b in zip(path, path[1:]))


def name_of(section, taken):
    if len(section.names) != 1:
        raise section.bad(f"[{section}]: write [{section.kind} NAME]")
    name = section.names[0]
    if not NAME.fullmatch(name):
        raise section.bad(f"{name} is no name: a letter, then up to 11 of a-z 0-9 -")
    if name in taken:
        raise section.bad(f"there is a {taken[name]} {name} already; names of sites and routers are unique")
    taken[name] = section.kind
    return name


def number_from(low, high):
    def parse(text):
        if not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"write a number from {low} to {high}")
        return int(text)
    return parse


def parse_prefix(text):
    try:
        prefix = ipaddress.ip_network(text)
    except ValueError as e:
        raise ValueError(f"no network prefix ({e})") from None
    if prefix.version != 4 or not 16 <= prefix.prefixlen <= 24:
        raise ValueError("write an IPv4 prefix of length 16 to 24, such as 10.1.0.0/24")
    if prefix.overlaps(OURS):
        raise ValueError(f"{OURS} belongs to the routers")
    return prefix


def parse_bfd(text):
    if text == "off":
        return ()
    interval, x, times = text.partition(" x ")
    if not x:
        raise ValueError("write interval and how many may be missed, such as 300ms x 3, or off")
    return (units.duration(interval), number_from(2, 50)(times))


def add_router(t, section, taken):
    section.only("as")
    name = name_of(section, taken)
    if len(t.routers) == ROUTERS_MAX:
        raise section.bad(f"{ROUTERS_MAX} routers are the most")
    asn = section.get("as", number_from(1, 4294967294))
    for other in t.routers.values():
        if other.asn == asn:
            raise section.bad(f"router {other.name} has AS {asn} already; each has its own", "as")
    t.routers[name] = Router(name, asn, len(t.routers) + 1)


def add_site(t, section, taken):
    section.only("prefix", "router", *KINDS)
    name = name_of(section, taken)
    prefix = section.get("prefix", parse_prefix)
    for other in t.sites.values():
        if other.prefix.overlaps(prefix):
            raise section.bad(f"{prefix} overlaps {other.prefix} of site {other.name}", "prefix")
    router = section.get("router")
    if router not in t.routers:
        raise section.bad(unknown_router(t, router), "router")
    count = number_from(0, SERVERS_MAX)
    t.sites[name] = Site(name, prefix, router, {k: section.get(k, count, 0) for k in KINDS})


def unknown_router(t, name):
    return f"there is no router {name}; there are {', '.join(t.routers) or 'none'}"


def add_link(t, section, lines):
    section.only("delay", "jitter", "rate", "loss", "queue")
    if len(section.names) != 2 or section.names[0] == section.names[1]:
        raise section.bad(f"[{section}]: write [link ROUTER ROUTER], two different ones")
    for name in section.names:
        if name not in t.routers:
            raise section.bad(unknown_router(t, name))
    names = {"-".join(section.names), "-".join(reversed(section.names))}
    for name in names & set(lines):
        raise section.bad(f"a link {name} stands in line {lines[name]} already")
    lines.update(dict.fromkeys(names, section.line))
    link = Link(tuple(section.names), len(t.links), section.get("delay", units.duration),
                section.get("jitter", units.duration, 0.0), section.get("rate", units.rate, 0),
                section.get("loss", units.percent, 0.0), section.get("queue", units.duration, 0.05))
    if link.jitter > link.delay:
        raise section.bad("jitter is more than delay", "jitter")
    t.links[link.name] = link


def check_connected(t, path):
    if not t.sites:
        raise ini.BadFile(f"{path}: no [site NAME] in it")
    first = next(iter(t.sites))
    for name in t.sites:
        if not t.path(first, name):
            raise ini.BadFile(f"{path}: no links lead from site {first} to site {name}")


def load(path):
    """The topology in a file; ini.BadFile says what is wrong with it, and in which line."""
    t, taken, lines = Topology(str(path)), {}, {}
    sections = ini.parse(path)
    for section in sections:
        if section.kind == "network" and not section.names:
            section.only("hold", "bfd")
            t.hold = section.get("hold", units.duration, t.hold)
            if t.hold < 3:
                raise section.bad("a hold time is at least 3s", "hold")
            t.bfd = section.get("bfd", parse_bfd, t.bfd)
        elif section.kind == "router":
            add_router(t, section, taken)
        elif section.kind not in ("site", "link"):
            raise section.bad(f"[{section}]: there are [network], [router NAME], [site NAME] and "
                              "[link ROUTER ROUTER]")
    for section in sections:    # now that all routers are known
        if section.kind == "site":
            add_site(t, section, taken)
        elif section.kind == "link":
            add_link(t, section, lines)
    check_connected(t, path)
    return t
