#!/usr/bin/env python3
"""One TCP stream: how much a path carries.

usage: stream.py receive ADDRESS PORT        prints "ready", then bits per second of one stream
       stream.py send ADDRESS PORT SECONDS

    ends = stream.begin(network, a, b, seconds)     a stream from site to site; others may run at once
    stream.end(ends)                                its bits per second
"""

import os
import socket
import subprocess
import sys
import time

PORT = 5000


def receive(address, port):
    with socket.create_server((address, port)) as listener:
        print("ready", flush=True)
        s, _ = listener.accept()
        buffer, total, began = bytearray(1 << 20), 0, time.monotonic()
        while True:
            n = s.recv_into(buffer)
            if n == 0:
                break
            total += n
        print(round(total * 8 / (time.monotonic() - began)))


def send(address, port, seconds):
    with socket.create_connection((address, port)) as s:
        block, end = bytes(1 << 20), time.monotonic() + seconds
        while time.monotonic() < end:
            s.sendall(block)


def begin(network, a, b, seconds):
    address, program = network.address(b), [sys.executable, os.path.realpath(__file__)]
    receiver = network.popen(b, [*program, "receive", address, PORT], stdout=subprocess.PIPE, text=True)
    receiver.stdout.readline()
    return receiver, network.popen(a, [*program, "send", address, PORT, seconds])


def end(ends):
    receiver, sender = ends
    sender.wait()
    return int(receiver.communicate()[0])


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
