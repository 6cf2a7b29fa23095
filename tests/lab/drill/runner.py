"""One drill from its file to its report."""

import os
import shutil
import subprocess

from cluster import Failure

from . import drillfile, report, verdict
from .engine import Engine


def run(path, directory, bindir, rounds=None, say=print):
    """True: everything was as expected. Failure, KeyboardInterrupt: it was not carried out to its end; what there is
    of a report is written all the same, and everything is put back."""
    drill = drillfile.load(path)
    drill.rounds = rounds or drill.rounds
    engine, ended = Engine(drill, directory, bindir, say), ""
    say(f"{drill.title}\n{drill.rounds} rounds of {drill.length:g} s; everything of it is in {directory}")
    try:
        engine.run()
    except KeyboardInterrupt:
        ended = "interrupted"
        raise
    except (Failure, OSError, subprocess.SubprocessError) as e:
        ended = str(e)
        raise
    finally:
        if engine.story.began:
            well = tell(engine, directory, ended, say)
            if well:    # else somebody may want to look at the disks
                shutil.rmtree(engine.cluster.root, ignore_errors=True)
    return well


def tell(engine, directory, ended, say):
    story = engine.story
    lines = verdict.lines_of(story)
    well = not ended and all(line.well for line in lines)
    place = os.path.join(directory, "report")
    report.write(story, lines, well, place, ended)
    report.copy_logs(engine.cluster, place)
    say(verdict.text_of(lines))
    say(f"{'As expected.' if well else 'NOT as expected.'} The report: {os.path.join(place, 'report.html')}")
    return well
