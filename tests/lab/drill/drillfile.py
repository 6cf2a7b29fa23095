"""A drill as a file describes it: topology, workload, events, expectations. README.md tells the format.

    d = drillfile.load(path)        cluster.Failure names file and line of what is wrong
    d.topology, d.workers, d.events, d.expectations
"""

import os
import random
import re
from dataclasses import dataclass, field

from cluster import PROGRAM, Failure
from workload import PAGE

from . import disks  # noqa: F401 - its faults
from . import expect, faults, ini, topology, units

NAME = re.compile(r"[a-z][a-z0-9-]*")
AND, OR = re.compile(r"\s+and\s+"), re.compile(r"\s+or\s+")
LENGTH_MAX, ROUNDS_MAX = 24 * 3600, 10000
SLOT_MAX = 16 << 20
PACE = {"every": (units.duration, 0.0), "begin": (units.duration, 0.0)}
# What each kind may say beside its site: (parser, default); None: it must.
WORKERS = {
    "file": {"size": (units.size, None)},
    "writer": {"file": (str, ""), "size": (units.size, PAGE), "slots": (units.count, 64), "sync": (units.count, 1),
               **PACE},
    "reader": {"of": (str, None), "cached": (units.yes_no, True), **PACE},
    "creator": {"sync": (units.yes_no, True), **PACE},
    "collector": {"of": (str, None), "at": (units.duration, None)},
}
FILE_SLOT = 1 << 20     # of a [file]; its size is a multiple of it


@dataclass
class Worker:
    kind: str
    name: str
    number: int             # in its records
    site: str
    values: dict
    section: ini.Section
    path: str = ""          # in the datastore
    slots: int = 0
    pages: int = 0          # of a slot


@dataclass
class Event:
    name: str
    at: float               # seconds from the round's begin
    until: float
    faults: list            # words


@dataclass
class Drill:
    path_name: str
    title: str
    topology: topology.Topology
    length: float           # of a round, seconds
    rounds: int
    settle: float           # of work before the first round and between two
    options: dict           # of servers: {kind: {key: value}}
    workers: dict = field(default_factory=dict)     # by name, in the file's order
    events: dict = field(default_factory=dict)
    expectations: list = field(default_factory=list)

    @property
    def name(self):
        return os.path.splitext(os.path.basename(self.path_name))[0]


def load(path):
    sections = ini.parse(path)
    heads = [s for s in sections if s.kind == "drill"]
    if len(heads) != 1 or sections[0] is not heads[0]:
        raise ini.BadFile(f"{path}:1: a drill begins with [drill], once")
    drill = head(heads[0])
    for section in sections[1:]:
        if section.kind in WORKERS:
            add_worker(drill, section)
        elif section.kind == "event":
            add_event(drill, section)
        elif section.kind == "random":
            add_random(drill, section)
        elif section.kind == "servers":
            add_options(drill, section)
        elif section.kind != "expect":
            raise section.bad(f"[{section}]: there is no such section; write [servers KIND], [event NAME], [random NAME], [expect], " +
                              ", ".join(f"[{kind} NAME]" for kind in WORKERS))
    if not drill.workers:
        raise heads[0].bad("a drill needs somebody who works: [writer NAME], [reader NAME], ...")
    for worker in drill.workers.values():
        connect(drill, worker)
    for section in sections:
        if section.kind == "expect":
            add_expectations(drill, section)
    return drill


def head(section):
    section.only("title", "topology", "length", "rounds", "settle")
    path = os.path.join(os.path.dirname(os.path.abspath(section.path)), section.get("topology"))
    drill = Drill(section.path, section.get("title"), topology.load(path), section.get("length", units.duration),
                  section.get("rounds", units.count, 1), section.get("settle", units.duration, 3.0), {})
    if not 1 <= drill.length <= LENGTH_MAX:
        raise section.bad("a round lasts 1s to 1440min", "length")
    if drill.rounds > ROUNDS_MAX:
        raise section.bad(f"at most {ROUNDS_MAX} rounds", "rounds")
    return drill


def name_of(section, taken):
    if len(section.names) != 1 or not NAME.fullmatch(section.names[0]):
        raise section.bad(f"[{section}]: write [{section.kind} NAME], a letter and then a-z 0-9 -")
    if section.names[0] in taken:
        raise section.bad(f"there is a {section.names[0]} already")
    return section.names[0]


def add_worker(drill, section):
    keys = WORKERS[section.kind]
    section.only("site", *keys)
    name = name_of(section, drill.workers)
    site = section.get("site")
    with_mounts = [s.name for s in drill.topology.sites.values() if s.servers["access"]]
    if site not in with_mounts:
        raise section.bad(f"there is no site {site} with an access server; there are {', '.join(with_mounts)}", "site")
    values = {key: section.get(key, parse, default) for key, (parse, default) in keys.items()}
    drill.workers[name] = Worker(section.kind, name, len(drill.workers) + 1, site, values, section)


def of_kind(drill, worker, *kinds):
    """The worker that this one names with `of`."""
    of = drill.workers.get(worker.values["of"])
    if not of or of.kind not in kinds:
        there = ", ".join(w.name for w in drill.workers.values() if w.kind in kinds)
        raise worker.section.bad(f"there is no {' or '.join(kinds)} {worker.values['of']}; there are "
                                 f"{there or 'none'}", "of")
    return of


def connect(drill, worker):
    """Where it works, which may be where another one does."""
    section, values = worker.section, worker.values
    if worker.kind == "file":
        if values["size"] < FILE_SLOT or values["size"] % FILE_SLOT:
            raise section.bad("a multiple of 1MiB", "size")
        worker.path, worker.slots, worker.pages = worker.name, values["size"] // FILE_SLOT, FILE_SLOT // PAGE
    elif worker.kind == "writer":
        if not PAGE <= values["size"] <= SLOT_MAX or values["size"] % PAGE:
            raise section.bad("a multiple of 4KiB up to 16MiB", "size")
        worker.path = values["file"] or worker.name
        worker.slots, worker.pages = values["slots"], values["size"] // PAGE
        for other in drill.workers.values():
            if other.kind == "writer" and other.path == worker.path and \
                    (other.slots, other.pages) != (worker.slots, worker.pages):
                raise section.bad(f"writers of one file have the same slots and size; {other.name} has others")
    elif worker.kind == "creator":
        worker.path = worker.name
    elif worker.kind == "reader":
        of = of_kind(drill, worker, "writer", "file")
        connect(drill, of)
        worker.path, worker.slots, worker.pages = of.path, of.slots, of.pages
    else:
        worker.path = of_kind(drill, worker, "creator").name
        if values["at"] >= drill.length:
            raise section.bad("it would begin after the round", "at")


def add_event(drill, section):
    section.only("at", "for", "do")
    name = name_of(section, drill.events)
    at = section.get("at", units.duration)
    until = at + section.get("for", units.duration, drill.length - at)
    if not at < until <= drill.length:
        raise section.bad(f"an event lies within the round of {units.show_duration(drill.length)}")
    words = AND.split(section.get("do"))
    check_faults(drill, section, words)
    drill.events[name] = Event(name, at, until, words)


def check_faults(drill, section, words):
    for fault in words:
        try:
            faults.parse(fault, drill.topology)
        except Failure as e:
            raise section.bad(str(e), "do") from None


def add_random(drill, section):
    """Events NAME-1, NAME-2, ...: each one to `together` of the faults, drawn by the seed, one after the other."""
    section.only("from", "until", "each", "pause", "together", "seed", "do")
    name = name_of(section, drill.events)
    at, until = section.get("from", units.duration), section.get("until", units.duration)
    each, pause = section.get("each", units.duration), section.get("pause", units.duration)
    choices = OR.split(section.get("do"))
    together = section.get("together", units.count, 1)
    draw = random.Random(section.get("seed", units.count, 1))
    if each < 1 or not 0 <= at < until <= drill.length or at + each > until:
        raise section.bad(f"each of at least 1s, from ... until within the round of {units.show_duration(drill.length)}")
    if together > len(choices):
        raise section.bad(f"together = {together}, of {len(choices)} faults", "together")
    check_faults(drill, section, choices)
    number = 0
    while at + each <= until:
        number += 1
        chosen = draw.sample(choices, draw.randint(1, together))
        drill.events[f"{name}-{number}"] = Event(f"{name}-{number}", at, at + each, chosen)
        at += each + pause


def add_options(drill, section):
    if len(section.names) != 1 or section.names[0] not in PROGRAM:
        raise section.bad(f"[{section}]: write [servers KIND], with one of {', '.join(PROGRAM)}")
    drill.options.setdefault(section.names[0], {}).update((k, v) for k, (v, _) in section.values.items())


def add_expectations(drill, section):
    for sentence, (words, _) in section.values.items():
        try:
            drill.expectations.append(expect.parse(sentence, words, drill))
        except Failure as e:
            raise section.bad(str(e), sentence) from None
