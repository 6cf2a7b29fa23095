#!/usr/bin/env python3
"""Every program has --help, --version and a manual page that knows the same options and commands.

usage: man.py ROOT BINDIR
"""

import os
import re
import subprocess
import sys

PAGES = {
    "distcloud": "hint-server/ctl/distcloud.8",
    "distcloud-core": "core-server/distcloud-core.8",
    "distcloud-hint": "hint-server/distcloud-hint.8",
    "distcloud-access": "access-server/distcloud-access.8",
}


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, timeout=20)


def check(root, bindir, program, page):
    exe = os.path.join(bindir, program)
    shown = run(exe, "--help")
    if shown.returncode != 0 or not shown.stdout.startswith("usage:"):
        yield f"{program} --help: ends with {shown.returncode}, prints {shown.stdout[:40]!r}"
    version = run(exe, "--version")
    if version.returncode != 0 or not re.search(r"\d+\.\d+", version.stdout):
        yield f"{program} --version: {version.stdout!r}"
    wrong = run(exe, "--no-such-option")
    if wrong.returncode == 0 or not wrong.stderr:
        yield f"{program} --no-such-option: ends with {wrong.returncode} and says {wrong.stderr!r}"
    manual = run("mandoc", "-T", "ascii", os.path.join(root, page))
    text = re.sub(r".\x08", "", manual.stdout)
    if manual.returncode != 0:
        yield f"{page}: {manual.stdout}{manual.stderr}"
    for option in sorted(set(re.findall(r"--[a-z][a-z-]+", shown.stdout))):
        if option not in text:
            yield f"{page}: does not tell of {option}"
    for command in re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", shown.stdout, re.M):
        if command not in text:
            yield f"{page}: does not tell of the command {command}"


def main():
    root, bindir = sys.argv[1], sys.argv[2]
    problems = [p for program, page in PAGES.items() for p in check(root, bindir, program, page)]
    print("\n".join(problems) or "all programs and their pages agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
