"""What a drill expects, as words that a person writes; each is looked at in every round.

    e = expect.parse("the writer goes on", "gap keeper under 1s in cut", drill)
    e.look(story, round)    -> (well, "what was measured")

story: what happened, see story.py. register() adds one, as faults.register() does."""

import math
from dataclasses import dataclass
from typing import Callable

from . import oplog, units
from .faults import known
from .vocabulary import Vocabulary

VOCABULARY = Vocabulary("expectation")


@dataclass
class Expectation:
    sentence: str
    words: str
    look: Callable
    about: str = ""         # the worker it is about, if any
    allows_errors: bool = False


def register(verb, usage, parser):
    """parser(words, drill) -> (look, worker's name or ""); the rest as vocabulary.py says."""
    VOCABULARY.register(verb, usage, parser)


def parse(sentence, text, drill):
    text, (look, about) = VOCABULARY.parse(text, drill)
    return Expectation(sentence, text, look, about, text.startswith("errors "))


# --- words ---

def worker(name, drill):
    return known("worker", name, drill.workers)


def literal(words, *expected):
    """The words that stand where expected has None."""
    if len(words) != len(expected) or any(e and e != w for w, e in zip(words, expected)):
        raise ValueError
    return [w for w, e in zip(words, expected) if not e]


def window(words, drill):
    """(the words before it, span(story, round) -> (begin, end)): "in EVENT", "after EVENT", or the whole round."""
    if len(words) < 2 or words[-2] not in ("in", "after"):
        return words, lambda story, rnd: (rnd.begin, rnd.end)
    event = known("event", words[-1], drill.events)
    if words[-2] == "in":
        return words[:-2], lambda story, rnd: rnd.events[event]
    return words[:-2], lambda story, rnd: (rnd.events[event][1], rnd.end)


def seconds(value):
    return "never" if math.isinf(value) else f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.1f} ms"


# --- the work ---

def parse_gap(words, drill):
    words, span = window(words, drill)
    name, limit = literal(words, None, "under", None)
    worker(name, drill)
    limit = units.duration(limit)

    def look(story, rnd):
        longest = story.longest_gap(name, *span(story, rnd))
        return longest < limit, f"longest gap {seconds(longest)}"
    return look, name


def time_and_event(words, drill, *expected):
    """(worker, seconds, event) of words that stand where expected has None."""
    name, time, event = literal(words, *expected)
    return worker(name, drill), units.duration(time), known("event", event, drill.events)


def parse_still(words, drill):
    name, after, event = time_and_event(words, drill, None, "after", None, "in", None)

    def look(story, rnd):
        begin, end = rnd.events[event]
        done = [op for op in story.ops(name, oplog.DONE) if begin + after < op.end < end]
        return not done, f"{len(done)} operations were acknowledged"
    return look, name


def first_after(which, preposition):
    """The parser of: how long after an event's begin (which: 0) or end (1) the first operation completes."""
    def parser(words, drill):
        name, limit, event = time_and_event(words, drill, None, "within", None, preposition, None)

        def look(story, rnd):
            since = rnd.events[event][which]
            took = min((op.end - since for op in story.ops(name, oplog.DONE) if op.end > since), default=math.inf)
            return took < limit, f"the first after {seconds(took)}"
        return look, name
    return parser


def parse_errors(words, drill):
    words, span = window(words, drill)
    name, how = literal(words, None, None)
    worker(name, drill)
    known("number of errors", how, ("none", "some", "any"))

    def look(story, rnd):
        begin, end = span(story, rnd)
        n = sum(begin <= op.end < end for op in story.ops(name, oplog.ERROR))
        return {"none": n == 0, "some": n > 0, "any": True}[how], f"{n} errors"
    return look, name


def parse_rate(words, drill):
    """Against the rate before the round's first event, or in bytes or operations a second."""
    words, span = window(words, drill)
    name, least = literal(words, None, "at", "least", None)
    worker(name, drill)
    absolute = least.endswith("/s")
    if not absolute:
        part = units.percent(least)
    elif least[:-2].isdigit():
        part, kind = int(least[:-2]), "operations"
    else:
        part, kind = units.size(least[:-2]), "bytes"

    def look(story, rnd):
        now = story.rate(name, *span(story, rnd))
        if absolute:
            value = now[kind]
            return value >= part, f"{value / (1 << 20):.1f} MiB/s" if kind == "bytes" else f"{value:.0f}/s"
        before = story.rate(name, rnd.begin, rnd.first_event)["operations"]
        share = now["operations"] / before if before else 0.0
        return share >= part, f"{share:.0%} of {before:.0f}/s before"
    return look, name


def parse_done(words, drill):
    name, limit = literal(words, None, "within", None)
    known("collector", name, [w.name for w in drill.workers.values() if w.kind == "collector"])
    limit = units.duration(limit)

    def look(story, rnd):
        begin, took, n = story.collected(name, rnd)
        return begin is not None and took < limit, f"{n} files in {seconds(took)}"
    return look, name


# --- the cluster and the network ---

def parse_fenced(words, drill):
    site, limit, event = literal(words, None, "within", None, "of", None)
    known("site", site, drill.topology.sites)
    known("event", event, drill.events)
    limit = units.duration(limit)

    def look(story, rnd):
        took = story.fenced_after(site, *rnd.events[event])
        return took < limit, f"after {seconds(took)}"
    return look, ""


def parse_serves(words, drill):
    words, span = window(words, drill)
    site, = literal(words, None)
    known("site", site, drill.topology.sites)

    def look(story, rnd):
        took = story.fenced_after(site, *span(story, rnd))
        return math.isinf(took), "it had its sessions" if math.isinf(took) else f"fenced after {seconds(took)}"
    return look, ""


def parse_path(words, drill):
    a, b, routers, limit, event = literal(words, None, "to", None, "over", None, "within", None, "in", None)
    for name in (a, b):
        known("site", name, drill.topology.sites)
    for router in routers.split(","):
        known("router", router, drill.topology.routers)
    known("event", event, drill.events)
    limit = units.duration(limit)

    def look(story, rnd):
        begin, end = rnd.events[event]
        took, last = story.path_after(a, b, routers.split(","), begin, end)
        return took < limit, f"after {seconds(took)}" if took < limit else f"the way was {','.join(last)}"
    return look, ""


def parse_healthy(words, drill):
    limit = units.duration(*literal(words, "within", None))

    def look(story, rnd):
        return rnd.healthy < limit, f"after {seconds(rnd.healthy)}"
    return look, ""


register("gap", """
gap WORKER under TIME [in EVENT|after EVENT]  the longest time between two completed operations
""", parse_gap)
register("still", """
still WORKER after TIME in EVENT  nothing is acknowledged from so long after its begin on
""", parse_still)
register("again", """
again WORKER within TIME after EVENT  the first operation that completes after its end
""", first_after(1, "after"))
register("first", """
first WORKER within TIME of EVENT  the first operation that completes after its begin
""", first_after(0, "of"))
register("errors", """
errors WORKER none|some|any [in EVENT|after EVENT]  of all others, too, none are allowed
""", parse_errors)
register("rate", """
rate WORKER at least PERCENT [in EVENT|after EVENT]  of that before the round's first event
rate WORKER at least SIZE/s|NUMBER/s [in EVENT|after EVENT]
""", parse_rate)
register("done", """
done COLLECTOR within TIME  it has read all files
""", parse_done)
register("fenced", """
fenced SITE within TIME of EVENT  all its core and access servers have no session any more
""", parse_fenced)
register("serves", """
serves SITE [in EVENT|after EVENT]  it is not fenced
""", parse_serves)
register("path", """
path SITE to SITE over ROUTER,... within TIME in EVENT  the packets' way
""", parse_path)
register("healthy", """
healthy within TIME  after the round, as status says
""", parse_healthy)
