"""The verdict on a drill: every expectation in every round, and what needs no word: nothing acknowledged is lost,
nothing read is stale, no error that nobody expects, the whole drill was carried out."""

import math
from dataclasses import dataclass, field

from . import checks, oplog

BREACHES_SHOWN = 20


@dataclass
class Line:
    sentence: str
    words: str
    well: bool
    measured: list = field(default_factory=list)    # (well, text) by round


def lines_of(story):
    lines = []
    for e in story.drill.expectations:
        measured = [e.look(story, rnd) for rnd in story.rounds if not math.isinf(rnd.end)]
        lines.append(Line(e.sentence, e.words, bool(measured) and all(well for well, _ in measured), measured))
    return lines + [errors_line(story)] + [promise_line(story)]


def errors_line(story):
    """Of the workers that no expectation says anything about."""
    allowed = {e.about for e in story.drill.expectations if e.allows_errors}
    said = []
    for w in story.drill.workers.values():
        if w.name in allowed:
            continue
        logs = [log for rnd in story.rounds for name, (_, log, _) in rnd.collected.items() if name == w.name] + \
            ([story.logs[w.name]] if w.name in story.logs else [])
        errors = [op for log in logs for op in oplog.read(log) if op.kind == oplog.ERROR]
        if errors:
            said.append(f"{w.name}: {len(errors)}, the first {checks.error_text(errors[0].code)}")
    return Line("no errors that nobody expects", "", not said, [(not said, "; ".join(said) or "none")])


def promise_line(story):
    said = story.breaches[:BREACHES_SHOWN]
    if len(story.breaches) > BREACHES_SHOWN:
        said.append(f"... and {len(story.breaches) - BREACHES_SHOWN} more")
    if said:
        measured = [(False, s) for s in said]
    else:
        acked = sum(len(story.ops(w.name, oplog.DONE)) for w in story.drill.workers.values()
                    if w.kind in ("file", "writer", "creator") and w.name in story.logs)
        read = sum(len(story.ops(w.name, oplog.DONE)) for w in story.drill.workers.values()
                   if w.kind == "reader" and w.name in story.logs)
        measured = [(True, f"{acked} acknowledgements and {read} reads were compared, from all sites")]
    return Line("nothing acknowledged is lost, nothing read is stale", "", not said, measured)


def text_of(lines):
    """For a terminal."""
    said = []
    for line in lines:
        said.append(f"{'ok    ' if line.well else 'FAILED'}  {line.sentence}: "
                    + ", ".join(text for _, text in line.measured))
    return "\n".join(said)
