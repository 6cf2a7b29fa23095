"""Writes what a drill was and how it went, for people and for programs, into a directory:

    report.html     the verdict, the picture, events, states before, during and after
    timeline.svg    the picture
    result.json     the verdict for programs
    raw/            operations as CSV, samples and snapshots as JSON, the drill, its topology, the servers' logs
"""

import csv
import html
import json
import os
import shutil

from . import checks, oplog, timeline

STYLE = """body{font:15px/1.45 sans-serif;max-width:1240px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;
vertical-align:top}.ok{color:#2e7d42;font-weight:bold}.bad{color:#b3261e;font-weight:bold}
pre{background:#f6f6f6;padding:.8em;overflow:auto;font-size:12px}svg{max-width:100%;height:auto}
summary{cursor:pointer}"""


def write(story, lines, well, directory, ended=""):
    """ended: why the drill did not come to its end; the paths of the report."""
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(os.path.join(directory, "raw"))
    picture = timeline.draw(story)
    put(directory, "timeline.svg", picture)
    put(directory, "result.json", json.dumps(result(story, lines, well, ended), indent=1) + "\n")
    put(directory, "report.html", page(story, lines, well, picture, ended))
    write_raw(story, os.path.join(directory, "raw"))


def put(directory, name, text):
    with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
        f.write(text)


def relative(story, when):
    return round(when - story.began, 3) if when < float("inf") else None


def result(story, lines, well, ended):
    return {
        "drill": story.drill.name, "title": story.drill.title, "well": well, "ended_early": ended,
        "seconds": relative(story, story.ended),
        "rounds": [{"begin": relative(story, r.begin), "end": relative(story, r.end),
                    "events": {n: [relative(story, t) for t in span] for n, span in r.events.items()},
                    "healthy_after": r.healthy if r.healthy < float("inf") else None} for r in story.rounds],
        "expectations": [{"sentence": e.sentence, "words": e.words, "well": e.well,
                          "measured": [text for _, text in e.measured]} for e in lines],
    }


# --- the page ---

def cell(text, kind="td"):
    return f"<{kind}>{text}</{kind}>"


def row(*cells, kind="td"):
    return "<tr>" + "".join(cell(c, kind) for c in cells) + "</tr>"


def mark(well):
    return '<span class="ok">ok</span>' if well else '<span class="bad">FAILED</span>'


def page(story, lines, well, picture, ended):
    drill, esc = story.drill, html.escape
    out = [f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{esc(drill.title)}</title>"
           f"<style>{STYLE}</style><h1>{esc(drill.title)}</h1>"]
    if ended:
        out.append(f'<p class="bad">Not carried out to its end: {esc(ended)}</p>')
    out.append(f"<p>{mark(well)} &mdash; {len(story.rounds)} of {drill.rounds} rounds of {drill.length:g} s, "
               f"{len(drill.topology.sites)} sites, {len(drill.topology.routers)} routers.</p>")
    out.append("<h2>Verdict</h2><table>" + row("", "expected", "measured, by round", kind="th"))
    for line in lines:
        measured = "<br>".join(esc(text) if ok else f'<span class="bad">{esc(text)}</span>'
                               for ok, text in line.measured)
        words = f"<br><small>{esc(line.words)}</small>" if line.words else ""
        out.append(row(mark(line.well), esc(line.sentence) + words, measured))
    out.append(f"</table><h2>What happened when</h2>{picture}")
    out.append("<p>The bars are completed operations; red above them are errors. The strips below tell what a leader "
               "in another site says about a site's servers: green up, amber lapsed, red ended.</p>")
    out += [events(story), work(story), states(story), "</html>\n"]
    return "\n".join(out)


def events(story):
    out = ["<h2>Events</h2><table>" + row("round", "event", "faults", "from", "until", kind="th")]
    for number, rnd in enumerate(story.rounds, 1):
        for name, (begin, end) in rnd.events.items():
            until = relative(story, end)
            out.append(row(number, name, html.escape(" and ".join(story.drill.events[name].faults)),
                           f"{relative(story, begin):.1f} s", f"{until:.1f} s" if until else "never"))
    return "\n".join(out) + "</table>"


def work(story):
    out = ["<h2>Work</h2><table>" + row("worker", "what", "acknowledged", "errors", "longest gap", kind="th")]
    for w in story.drill.workers.values():
        if w.name not in story.logs or w.kind == "file":
            continue
        errors = {}
        for op in story.ops(w.name, oplog.ERROR):
            errors[checks.error_text(op.code)] = errors.get(checks.error_text(op.code), 0) + 1
        said = ", ".join(f"{n} {text}" for text, n in errors.items()) or "none"
        out.append(row(w.name, f"{w.kind} in {w.site}", len(story.ops(w.name, oplog.DONE)), html.escape(said),
                       f"{story.longest_gap(w.name, story.began, story.ended):.3f} s"))
    return "\n".join(out) + "</table>"


def states(story):
    """Network and cluster at each snapshot, folded."""
    out = ["<h2>States</h2>"]
    for s in story.snapshots:
        leaders = sorted({str(v.get("leader")) for v in s["status"].values() if v.get("leader")})
        silent = [site for site, v in s["status"].items() if not v]
        head = f"{s['label']}: leader {', '.join(leaders) or 'none'}" + \
            (f"; no answer in {', '.join(silent)}" if silent else "") + \
            (f"; broken: {', '.join(f['fault'] for f in s['network']['faults'])}" if s["network"]["faults"] else "")
        out.append(f"<details><summary>{html.escape(head)}</summary>"
                   f"<pre>{html.escape(json.dumps(s, indent=1))}</pre></details>")
    return "\n".join(out)


# --- raw data ---

def write_raw(story, directory):
    for name, path in story.logs.items():
        with open(os.path.join(directory, name + ".csv"), "w", newline="") as f:
            out = csv.writer(f)
            out.writerow(["what", "begin_s", "end_s", "slot", "seq", "writer", "bytes", "error"])
            for op in oplog.read(path):
                out.writerow([{oplog.START: "start", oplog.DONE: "done"}.get(op.kind, "error"),
                              f"{op.begin - story.began:.6f}", f"{op.end - story.began:.6f}", op.slot, op.seq,
                              op.writer, op.size, op.code or ""])
    samples = [{**s, "time": relative(story, s["time"]),
                "servers": {"/".join(k): v for k, v in s["servers"].items()},
                "paths": {" to ".join(k): v for k, v in s.get("paths", {}).items()}} for s in story.samples]
    put(directory, "samples.json", json.dumps(samples, indent=1))
    put(directory, "snapshots.json", json.dumps(story.snapshots, indent=1))
    for path in (story.drill.path_name, story.drill.topology.path_name):
        shutil.copy(path, directory)


def copy_logs(cluster, directory):
    """The servers' logs: directory/raw/SITE-SERVER.log."""
    for s in cluster.servers:
        if os.path.exists(s.base + ".log"):
            shutil.copy(s.base + ".log", os.path.join(directory, "raw", f"{s.site}-{s.name}.log"))
