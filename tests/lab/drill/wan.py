"""The wide-area forwarder distcloud-wan, as a process and over its socket."""

import os
import socket
import subprocess

from cluster import Failure, wait_for

from . import run_id

SOCKET, LOG = "wan.sock", "wan.log"
ANSWER_MAX = 128 << 10
# What a condition of a link is called there, and in which units.
KEYS = {"delay": ("delay_ns", 1e9), "jitter": ("jitter_ns", 1e9), "queue": ("queue_ns", 1e9),
        "rate": ("rate_bps", 1), "loss": ("loss", 1e6), "duplicate": ("duplicate", 1e6),
        "corrupt": ("corrupt", 1e6)}


class Wan:
    """rundir: where the socket is. Any process may ask; the one that starts it owns it."""

    def __init__(self, rundir):
        self.rundir, self.process = rundir, None

    def start(self, bindir, run):
        program = os.path.join(bindir, "distcloud-wan")
        with open(os.path.join(self.rundir, LOG), "w") as log:
            try:
                self.process = subprocess.Popen([os.path.abspath(program), SOCKET], cwd=self.rundir,
                                                stdin=subprocess.PIPE, stdout=log, stderr=log,
                                                start_new_session=True, env=run_id.environment(run))
            except OSError as e:
                raise Failure(f"{program}: {e.strerror}; make build makes it") from None
        wait_for("distcloud-wan to listen", self.listens, 10, 0.01)

    def listens(self):
        try:
            self.ask("show")
        except Failure:
            if self.process.poll() is not None:
                raise
            return False
        return True

    def stop(self):
        """None, or a sentence if it did not end well."""
        if not self.process:
            return None
        self.process.stdin.close()
        code, self.process = self.process.wait(), None
        return f"distcloud-wan ended with {code}. {self.last_words()}".strip() if code else None

    def last_words(self):
        with open(os.path.join(self.rundir, LOG)) as f:
            return f.read()

    def ask(self, command):
        """The answer, without its "ok"; Failure if it is an error."""
        directory = os.open(self.rundir, os.O_PATH)  # a socket's path may be 107 bytes, a rundir's more
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.connect(f"/proc/self/fd/{directory}/{SOCKET}")
                s.settimeout(10)
                s.send(command.encode())
                answer = s.recv(ANSWER_MAX).decode()
        except OSError as e:
            raise Failure(f"distcloud-wan does not answer: {e.strerror}. {self.last_words()}".strip()) \
                from None
        finally:
            os.close(directory)
        if not answer.startswith("ok"):
            raise Failure(f"distcloud-wan: {command}: {answer or 'no answer'}")
        return answer[2:].strip()

    def set(self, link, direction, **conditions):
        """delay, jitter, queue in seconds, rate in bits a second, loss, duplicate, corrupt 0 ... 1."""
        words = [f"{KEYS[k][0]}={round(v * KEYS[k][1])}" for k, v in conditions.items()]
        self.ask(f"set {link} {direction} {' '.join(words)}")

    def show(self):
        """{link name: [conditions and counters of direction 0, of direction 1]}"""
        links = {}
        for line in self.ask("show").splitlines():
            name, _, *pairs = line.split()
            links.setdefault(name, []).append({k: int(v) for k, v in (p.split("=") for p in pairs)})
        return links
