"""Own loopback networks and mounts for a test, so that several may run beside one another and beside a
demo: all clusters of the lab use the same addresses and ports."""

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
IFREQ = struct.Struct("16sh22x")


def libc_call(name, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        _, flags = IFREQ.unpack(fcntl.ioctl(s, SIOCGIFFLAGS, IFREQ.pack(b"lo", 0)))
        fcntl.ioctl(s, SIOCSIFFLAGS, IFREQ.pack(b"lo", flags | IFF_UP))


def isolate():
    """This process and its children to come see no network but their own loopback; what they mount is
    seen by nobody else, and gone with the last of them."""
    libc_call("unshare", CLONE_NEWNS | CLONE_NEWNET)
    libc_call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    loopback_up()
