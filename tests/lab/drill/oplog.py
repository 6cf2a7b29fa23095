"""What a drill's worker did, operation by operation, in a file outside of the cluster: what was promised to it
is known whatever happens to it. Times are those of CLOCK_MONOTONIC, one for all processes of the machine."""

import os
import struct
from collections import namedtuple

RECORD = struct.Struct("<BxHIQddII")
START, DONE, ERROR = 1, 2, 3    # a write begins; an operation was acknowledged; one failed

# kind; code: of an ERROR; slot, seq: of a write (or the oldest that a read found), seq 0: zeros; begin, end in
# seconds (of a START both are its begin); size in bytes; writer: whose record a read found
Op = namedtuple("Op", "kind code slot seq begin end size writer")


class Log:
    """Appends. Every record is with the kernel when the call returns, so it outlives a killed worker."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def add(self, kind, begin, end, slot=0, seq=0, size=0, writer=0, code=0):
        os.write(self.fd, RECORD.pack(kind, code, slot, seq, begin, end, size, writer))


def read(path):
    """All operations of a log, in their order; none if there is no such file yet."""
    try:
        with open(path, "rb") as f:
            data = f.read()
    except FileNotFoundError:
        return []
    whole = len(data) - len(data) % RECORD.size     # the last one is being written
    return [Op(*fields) for fields in RECORD.iter_unpack(data[:whole])]
