"""The faults of the drills, as words that a person writes:

    fault = faults.parse("loss nagoya-otemachi 100% out", topology)
    fault.apply(network, cluster)      # cluster: only faults of sites and servers need one; breakable.py
    fault.undo()                       # once or more often; network.faults.clear() undoes all

parse() raises cluster.Failure with a sentence that names what is wrong and what exists; without a topology
names are looked at by apply(). help_text() tells all faults. register() adds one:

    register("disk", "disk SITE/SERVER full", parse_disk)    # see there"""

from cluster import Failure

from . import units
from .vocabulary import Vocabulary

VOCABULARY = Vocabulary("fault")


class Fault:
    def __init__(self, words, claims):
        """claims(topology): [(key, value)], or Failure if the topology does not have what they name."""
        self.words, self.claims = words, claims
        self.network, self.number, self.cluster = None, None, None

    def __str__(self):
        return self.words

    def apply(self, network, cluster=None):
        if self.number is not None:
            raise Failure(f"{self} is there already")
        number = network.faults.add(self.words, self.claims(network.topology), cluster)
        self.network, self.cluster, self.number = network, cluster, number

    def undo(self):
        if self.number is not None:
            self.network.faults.remove(self.number, self.cluster)
            self.number = None


def register(verb, usage, parser):
    """parser(words): returns claims(topology) as for Fault; the rest as vocabulary.py says."""
    VOCABULARY.register(verb, usage, parser)


def parse(words, topology=None):
    """words: a string or a list of words."""
    fault = Fault(*VOCABULARY.parse(words))
    if topology:
        fault.claims(topology)
    return fault


def help_text():
    """Also those that were registered elsewhere."""
    return VOCABULARY.help_text()


# --- names ---

def known(what, name, names):
    if name not in names:
        raise Failure(f"there is no {what} {name}; there are {', '.join(names) or 'none'}")
    return name


def neighbour_of(topology, router, name):
    known("router", router, topology.routers)
    return known(f"neighbour of {router}:", name, topology.neighbours(router))


def server_of(topology, text):
    """(site, server) of "nara/core1"."""
    site, _, name = text.partition("/")
    known("site", site, topology.sites)
    return site, known(f"server in {site}:", name, topology.sites[site].addresses())


# --- the faults of the network ---

def parse_interface(words):
    router, names, state = fit(words, 3)
    if state != "down":
        raise ValueError

    def claims(topology):
        known("router", router, topology.routers)
        links, sites = topology.neighbours(router), [s.name for s in topology.sites_of(router)]
        chosen = links if names == "all" else names.split(",")
        return [(("interface", router, "to-" + known(f"interface of {router} to", n, links + sites)),
                 "down") for n in chosen]
    return claims


def fit(words, *numbers):
    if len(words) not in numbers:
        raise ValueError
    return words


def directions(word):
    """Which of out (0) and in (1), as seen from the first router that the link's name names."""
    ways = {"out": [0], "in": [1], "both": [0, 1]}
    if word not in ways:
        raise ValueError
    return ways[word]


def condition(name, parser, least=None):
    """A fault that changes a condition of links; least(base, value): what it becomes."""
    def parse_condition(words):
        links, text, *way = fit(words, 2, 3)
        value, ways = parser(text), directions(way[0] if way else "both")

        def claims(topology):
            found = []
            for text in links.split(","):
                link, first = topology.find_link(text)
                base = getattr(link, name, 0)
                found += [(("link", link.name, str(first ^ way), name),
                           least(base, value) if least else value) for way in ways]
            return found
        return claims
    return parse_condition


def parse_cut(words):
    links, = fit(words, 1)
    return lambda topology: [(("cable", topology.find_link(name)[0].name), "cut")
                             for name in links.split(",")]


def parse_route(words):
    if len(words) == 4 and words[1] == "to" and words[3] == "blackhole":
        router, _, site, via = words
    elif len(words) == 5 and words[1] == "to" and words[3] == "via":
        router, _, site, _, via = words
    else:
        raise ValueError

    def claims(topology):
        known("router", router, topology.routers)
        known("site", site, topology.sites)
        if via != "blackhole":
            neighbour_of(topology, router, via)
        return [(("route", router, site), via)]
    return claims


def parse_loop(words):
    a, b, to, site = fit(words, 4)
    if to != "to":
        raise ValueError

    def claims(topology):
        neighbour_of(topology, a, b)
        known("site", site, topology.sites)
        return [(("route", a, site), b), (("route", b, site), a)]
    return claims


def parse_flap(words):
    router, neighbour, every, period = fit(words, 4)
    seconds = units.duration(period)
    if every != "every":
        raise ValueError
    if seconds < 2:     # a session needs about 0.7 s to come up
        raise ValueError("a period is at least 2s")
    return lambda topology: [(("flap", router, neighbour_of(topology, router, neighbour)), seconds)]


def parse_router(words):
    router, state = fit(words, 2)
    if state != "down":
        raise ValueError

    def claims(topology):
        known("router", router, topology.routers)
        names = topology.neighbours(router) + [s.name for s in topology.sites_of(router)]
        return [(("bird", router), "stopped")] + \
            [(("interface", router, f"to-{name}"), "down") for name in names]
    return claims


# --- the faults of sites and servers ---

def parse_site(words):
    site, state = fit(words, 2)
    if state != "down":
        raise ValueError

    def claims(topology):
        known("site", site, topology.sites)
        s = topology.sites[site]
        return [(("server", site, name), "killed") for name in s.addresses()] + \
            [(("interface", s.router, f"to-{site}"), "down")]
    return claims


def parse_server(words):
    text, what = fit(words, 2)
    states = {"kill": "killed", "pause": "paused"}
    if what not in states:
        raise ValueError
    return lambda topology: [(("server", *server_of(topology, text)), states[what])]


register("interface", """
interface ROUTER NAME,...|all down  interfaces to neighbours or sites; all: to all neighbours
""", parse_interface)
register("loss", """
loss LINK,... PERCENT [in|out|both]  packet loss; out is from the first router of LINK to the second
""", condition("loss", units.percent))
register("delay", """
delay LINK,... TIME [in|out|both]  added to the link's own delay
""", condition("delay", units.duration, lambda base, value: base + value))
register("jitter", """
jitter LINK,... TIME [in|out|both]  the delay varies by so much up and down
""", condition("jitter", units.duration))
register("rate", """
rate LINK,... RATE [in|out|both]  traffic shaping
""", condition("rate", units.rate))
register("duplicate", """
duplicate LINK,... PERCENT [in|out|both]  packets come twice
""", condition("duplicate", units.percent))
register("corrupt", """
corrupt LINK,... PERCENT [in|out|both]  a flipped bit; checksums find it, so it is a loss
""", condition("corrupt", units.percent))
register("cut", """
cut LINK,...  the cable: no packets, no carrier, and what was on its way is lost
""", parse_cut)
register("route", """
route ROUTER to SITE via NEIGHBOUR  a forced static route, stronger than BGP's
route ROUTER to SITE blackhole  the same, into nowhere
""", parse_route)
register("loop", """
loop ROUTER ROUTER to SITE  two neighbours, each sends what is for SITE to the other
""", parse_loop)
register("flap", """
flap ROUTER NEIGHBOUR every TIME  their BGP session goes and comes: half the period each
""", parse_flap)
register("router", """
router ROUTER down  all its interfaces, and its routing
""", parse_router)
register("site", """
site SITE down  power: all servers killed at once, and the uplink down
""", parse_site)
register("server", """
server SITE/SERVER kill  at once, without a warning
server SITE/SERVER pause  stopped (SIGSTOP); the undo wakes it with all it remembers
""", parse_server)
