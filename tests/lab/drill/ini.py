"""Files in the style of the project's configuration, with the line of everything, for good errors.

    [kind name...]      a section; names are lower-case words
    key = value         # and ; begin a comment at the start of a line or after a space
"""

import re

from cluster import Failure

SECTION = re.compile(r"\[([^\]]*)\]$")
COMMENT = re.compile(r"(^|\s)[#;].*$")


class BadFile(Failure):
    """A file says something senseless; the text names file and line."""


class Section:
    def __init__(self, path, line, words):
        self.path, self.line = path, line
        self.kind, self.names = words[0], words[1:]
        self.values = {}    # key: (value, line), in the order of the file

    def __str__(self):
        return " ".join([self.kind, *self.names])

    def bad(self, text, key=None):
        """The error to raise about this section or about one of its keys."""
        line = self.values[key][1] if key in self.values else self.line
        return BadFile(f"{self.path}:{line}: {text}")

    def get(self, key, parse=str, default=None):
        """The value, parsed; parse may raise ValueError with a sentence. A key that the section does
        not have is an error unless there is a default."""
        if key not in self.values:
            if default is None:
                raise self.bad(f"[{self}] lacks {key} = ...")
            return default
        try:
            return parse(self.values[key][0])
        except ValueError as e:
            raise self.bad(f"{key} = {self.values[key][0]}: {e}", key) from None

    def only(self, *keys):
        """All keys must be among these."""
        for key in self.values:
            if key not in keys:
                raise self.bad(f"[{self}] has no key {key}; there are {', '.join(keys)}", key)


def parse(path):
    """The sections of a file, in order."""
    try:
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
    except (OSError, UnicodeDecodeError) as e:
        raise BadFile(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from None
    sections = []
    for number, text in enumerate(lines, 1):
        text = COMMENT.sub("", text).strip()
        if not text:
            continue
        header = SECTION.match(text)
        if header:
            if not header.group(1).split():
                raise BadFile(f"{path}:{number}: a section without a name")
            sections.append(Section(path, number, header.group(1).split()))
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise BadFile(f"{path}:{number}: neither [section] nor key = value: {text}")
        if not sections:
            raise BadFile(f"{path}:{number}: {key} stands before the first [section]")
        if key in sections[-1].values:
            first = sections[-1].values[key][1]
            raise BadFile(f"{path}:{number}: {key} stands in line {first} already")
        sections[-1].values[key] = (value, number)
    return sections
