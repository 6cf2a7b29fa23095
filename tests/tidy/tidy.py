#!/usr/bin/env python3
"""Rules of the source text that no compiler checks. Prints each breach; exits 1 if there is one.

usage: tidy.py ROOT COMPILE_COMMANDS_JSON
"""

import json
import os
import re
import subprocess
import sys

LINE_MAX = 100
FUNCTION_MAX = 70
FILE_MAX = 1000
HEADER_MAX = 500
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|atoi|atol|gets|rand|srand|time|assert)\s*\(")
BARE_MALLOC = re.compile(r"\b(malloc|calloc|realloc)\s*\(")
SYSTEM_HEADERS = re.compile(r'#include <(unistd|pthread|sys/(?!stat|types)[a-z_]+|time|signal|poll|liburing|lmdb|'
                            r'netdb)\.h>')
SERVERS = ("core-server", "access-server", "hint-server")


def sources(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard",
                          "*.c", "*.h"], capture_output=True, text=True, check=True).stdout
    return sorted(p for p in out.splitlines() if os.path.exists(os.path.join(root, p)))


def strip(text):
    """The code without comments and string contents, line numbers kept."""
    keep = lambda m: re.sub(r"[^\n]", " ", m.group())
    text = re.sub(r"/\*.*?\*/|//[^\n]*", keep, text, flags=re.S)
    return re.sub(r'"(\\.|[^"\\\n])*"', lambda m: '"' + " " * (len(m.group()) - 2) + '"', text)


def functions(lines):
    """(name, first line, length) of each function: a brace in column one opens its body."""
    for i, line in enumerate(lines):
        if line.rstrip() == "{":
            end = next((j for j in range(i, len(lines)) if lines[j].startswith("}")), i)
            head = " ".join(lines[max(0, i - 4):i])
            names = re.findall(r"(\w+)\s*\(", head)
            yield (names[-1] if names else "?"), i + 1, end - i - 1


def is_dispatch(body):
    """A pure dispatch switch may be long: at least a case in every fourth line."""
    return sum("case " in line for line in body) * 4 >= len(body)


def check_layers(path, text, raw):
    name = os.path.basename(path)
    # a server's own folder holds its wiring: main, start and stop
    adapter = re.search(r"(_uv|_sys|main\w*)\.[ch]$", name) or path.startswith(("tests/", "bench/")) \
        or "/fuse/" in path or "/net/" in path or "/ctl/" in path or path.count("/") == 1
    if "#include <uv.h>" in raw and not adapter:
        yield 1, "includes <uv.h>: only *_uv files may"
    if SYSTEM_HEADERS.search(raw) and not adapter:
        yield 1, "includes a system header: only *_sys and *_uv files may make system calls"
    top = path.split("/")[0]
    for number, line in enumerate(raw.split("\n"), 1):
        found = re.match(r'#include "([^"]+)"', line)
        if not found:
            continue
        other = found.group(1).split("/")[0]
        if top == "common" and other in SERVERS:
            yield number, "common includes a server's header"
        if top in SERVERS and other in SERVERS and other != top:
            yield number, "a server includes another server's header"
    _ = text


def check_file(path, raw):
    text = strip(raw)
    lines, code = raw.split("\n"), text.split("\n")
    if len(lines) > FILE_MAX:
        yield 1, f"{len(lines)} lines: one file, one purpose"
    if path.endswith(".h") and len(lines) > HEADER_MAX:
        yield 1, f"header of {len(lines)} lines"
    if path.endswith(".h") and "#pragma once" not in raw:
        yield 1, "no #pragma once"
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > LINE_MAX + 12:
            yield number, f"line of {len(line.expandtabs(8))} columns"
        if line != line.rstrip():
            yield number, "space at the end of the line"
    in_test = path.startswith(("tests/", "bench/"))
    for number, line in enumerate(code, 1):
        banned = BANNED.search(line)
        if banned and not (banned.group(1) == "time" and path.endswith("_sys.c")):
            yield number, f"{banned.group(1)}() is not used here"
        if BARE_MALLOC.search(line) and not in_test and path != "common/base/mem.c":
            yield number, "bare malloc: use common/base/mem.h or iobuf.h"
    for name, number, length in functions(code):
        if length > FUNCTION_MAX and not is_dispatch(code[number:number + length]):
            yield number, f"{name}() has {length} lines"
    yield from check_layers(path, text, raw)


def check_targets(root, commands, paths):
    with open(commands) as f:
        built = {os.path.relpath(os.path.realpath(c["file"]), os.path.realpath(root)) for c in json.load(f)}
    for p in paths:
        if p.endswith(".c") and p not in built:
            yield p, 1, "belongs to no target"


def main():
    root, commands = sys.argv[1], sys.argv[2]
    paths = sources(root)
    found = list(check_targets(root, commands, paths))
    for p in paths:
        with open(os.path.join(root, p)) as f:
            raw = f.read()
        found += [(p, number, what) for number, what in check_file(p, raw)]
    for p, number, what in found:
        print(f"{p}:{number}: {what}")
    print(f"{len(paths)} files, {len(found)} breaches")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
