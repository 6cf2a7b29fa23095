"""The picture of a drill: I/O by worker over time, what others thought of each site's servers, events marked. SVG."""

import html
import math

from . import oplog

WIDTH, LEFT, RIGHT, TOP = 1200, 190, 20, 64
ROW, GAP, STRIP = 64, 14, 14
BINS_MAX, BIN_MIN = 600, 0.1
COLOURS = {"up": "#5aa469", "lapsed": "#e8b04a", "ended": "#c0504d", "blank": "#8e6bb0", "": "#dddddd"}
EVENT, WORK, BAD, GRID, TEXT = "#f6dcb8", "#3b6ea5", "#c0504d", "#d8d8d8", "#333333"


class Timeline:
    def __init__(self, story):
        self.story, self.parts, self.y = story, [], TOP
        self.begin, self.span = story.began, max(story.ended - story.began, 1.0)
        self.bin = max(BIN_MIN, self.span / BINS_MAX)

    def x(self, when):
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(when - self.begin, 0.0), self.span) / self.span

    def text(self, x, y, text, anchor="start", size=12, colour=TEXT, more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                          f'fill="{colour}"{more}>{html.escape(text)}</text>')

    def box(self, x, y, width, height, colour, title=""):
        body = f"><title>{html.escape(title)}</title></rect>" if title else "/>"
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.2f}" height="{height:.1f}" '
                          f'fill="{colour}"{body}')

    def draw(self):
        """The whole document."""
        body = self.rows()
        self.parts = []
        bottom = self.y + 8
        self.events(bottom)
        self.axis(bottom)
        self.text(LEFT, 20, self.story.drill.title, size=15, more=' font-weight="bold"')
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30:.0f}" width="{WIDTH}" '
                f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
                + "\n".join(self.parts + body) + "</svg>\n")

    def rows(self):
        for worker in self.story.drill.workers.values():
            if worker.kind not in ("file", "collector") and worker.name in self.story.logs:
                self.worker(worker)
        for site in self.story.drill.topology.sites:
            self.site(site)
        return self.parts

    def events(self, bottom):
        for rnd in self.story.rounds:
            for i, (name, (begin, end)) in enumerate(rnd.events.items()):
                end = min(end, self.story.ended)
                x = self.x(begin)
                self.box(x, TOP - 10, self.x(end) - x, bottom - TOP + 10, EVENT,
                         f"{name}: {' and '.join(self.story.drill.events[name].faults)}, {end - begin:.1f} s")
                self.text(x, TOP - 14 - 12 * (i % 2), name, size=11)

    def axis(self, bottom):
        step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400) if self.span / s <= 20
                    or s == 14400)
        for i in range(int(self.span / step) + 1):
            x = self.x(self.begin + i * step)
            self.parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{bottom}" stroke="{GRID}"/>')
            self.text(x, bottom + 14, f"{i * step} s", "middle", 11)

    def bins(self, worker):
        """[(value, errors)]; the value is bytes a second of large operations, else operations."""
        counts = [[0, 0] for _ in range(int(self.span / self.bin) + 1)]
        large = worker.kind in ("writer", "reader") and worker.pages * 4096 >= 1 << 18
        for op in self.story.ops(worker.name):
            i = int((op.end - self.begin) / self.bin)
            if op.kind != oplog.START and 0 <= i < len(counts):
                counts[i][op.kind == oplog.ERROR] += (op.size if large else 1) if op.kind == oplog.DONE else 1
        return counts, large

    def worker(self, worker):
        counts, large = self.bins(worker)
        top = max([n for n, _ in counts] + [1])
        self.text(LEFT - 10, self.y + 16, worker.name, "end", 13)
        self.text(LEFT - 10, self.y + 31, f"{worker.kind} in {worker.site}", "end", 11)
        shown = f"{top / self.bin / (1 << 20):.1f} MiB/s" if large else f"{top / self.bin:.0f}/s"
        self.text(LEFT - 10, self.y + 46, f"at most {shown}", "end", 11)
        width = (WIDTH - LEFT - RIGHT) * self.bin / self.span
        path = []
        for i, (n, bad) in enumerate(counts):
            x, height = self.x(self.begin + i * self.bin), ROW * n / top
            if n:
                path.append(f"M{x:.1f} {self.y + ROW:.1f}v{-height:.1f}h{width:.2f}v{height:.1f}z")
            if bad:
                self.box(x, self.y - 4, max(width, 2), 4, BAD, f"{bad} errors")
        self.parts.append(f'<path d="{"".join(path)}" fill="{WORK}"/>')
        self.y += ROW + GAP

    def site(self, site):
        """What the servers of the site are for a leader elsewhere, and where the leader is."""
        self.text(LEFT - 10, self.y + 11, f"{site}, seen from others", "end", 11)
        seen = [s for s in self.story.samples if s["site"] not in ("", site) and s["leader"]]
        for s, following in zip(seen, seen[1:] + [None]):
            states = [state for (place, name), state in s["servers"].items()
                      if place == site and not name.startswith("hint")]
            state = next((x for x in ("ended", "lapsed", "blank", "up") if x in states), "")
            end = min(following["time"] if following else math.inf, s["time"] + 2.5, self.story.ended)
            self.box(self.x(s["time"]), self.y, self.x(end) - self.x(s["time"]) + 0.3, STRIP, COLOURS[state],
                     f"{s['time'] - self.begin:.0f} s: " + (", ".join(sorted(set(states))) or "no servers"))
        self.y += STRIP + 6


def draw(story):
    return Timeline(story).draw()
