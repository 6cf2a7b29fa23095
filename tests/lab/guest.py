#!/usr/bin/env python3
"""Virtual machines on the datastore: qemu-img, a guest that boots there, sites that die under it.

A guest (QEMU without KVM, Debian's cloud kernel) boots from a qcow2 image in one site, writes to its
own filesystem while another site is killed, shuts down, boots again from another site's mount. Then
its own site dies with it, and it is started elsewhere: every write that the guest's fsync
acknowledged is there, and its filesystem is clean.

usage: guest.py BINDIR DIRECTORY
"""

import os
import queue
import shutil
import subprocess
import sys
import threading
import time

import guest_image
from cluster import Cluster, Failure, main_guard, run, wait_for

GAP_MAX = float(os.environ.get("GAP_MAX", "3.0"))  # the guest itself is slow without KVM
BOOT_SECONDS = 120
FILES = 20

# Prints "w N SUM" once the N-th file is durable; N modulo FILES names the file.
WRITER = ("n={first}; while [ ! -e /tmp/stop ]; do n=$((n+1)); f=/mnt/f$((n%{files})); "
          "dd if=/dev/urandom of=$f.new bs=4k count=8 conv=fsync 2>/dev/null; mv $f.new $f; "
          "sync; echo w $n $(md5sum <$f | cut -c1-32); done &")


class Guest:
    """A running virtual machine, spoken to over its serial console."""

    def __init__(self, image, extra=()):
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-m", "192", "-display", "none", "-serial", "stdio",
             "-monitor", "none", "-no-reboot", "-nic", "none",
             "-drive", f"file={image},if=virtio,format=qcow2,cache=none", *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines = queue.Queue()
        self.tail = []
        self.written = []  # (when, n, sum) as the guest told them
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").strip()
            self.tail = self.tail[-30:] + [line]
            words = line.split()
            if words[:1] == ["w"] and len(words) == 3:
                self.written.append((time.monotonic(), int(words[1]), words[2]))
            else:
                self.lines.put(line)

    def expect(self, start, seconds=BOOT_SECONDS):
        """The next console line that begins with `start`; what comes before is passed over."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise Failure(f"the guest did not say '{start}' in {seconds} s:\n" +
                              "\n".join(self.tail)) from None
            if line.startswith(start):
                return line

    def ready(self):
        """Waits until it is up; the exit code of its fsck (0 clean, 1 repaired)."""
        code = int(self.expect("fsck ").split()[1])
        self.expect("guest ready")
        return code

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def command(self, command):
        """Runs it in the guest; Failure unless its exit code is 0."""
        self.send(command)
        done = self.expect("done ")
        if done != "done 0":
            raise Failure(f"in the guest '{command}' ended with {done}:\n" + "\n".join(self.tail))

    def longest_gap(self, since):
        times = [w[0] for w in self.written] + [time.monotonic()]
        return max((b - a for a, b in zip(times, times[1:]) if b > since), default=0.0)

    def stop_writer(self):
        self.command("echo >/tmp/stop; wait; rm /tmp/stop")

    def shut_down(self):
        self.command("umount /mnt")
        self.send("poweroff -f")
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise Failure("the guest did not power off") from None

    def kill(self):
        self.process.kill()
        self.process.wait()


def check_files(guest, written):
    """The guest's files hold what was acknowledged last for each, or something newer."""
    newest = {n % FILES: (n, s) for _, n, s in written}
    top = max((n for _, n, _ in written), default=0)
    guest.send(f"for i in $(ls /mnt); do echo have $i $(md5sum </mnt/$i | cut -c1-32); done")
    have = {}
    while True:
        line = guest.expect("", 60)
        if line.startswith("done "):
            break
        words = line.split()
        if words[:1] == ["have"] and len(words) == 3:
            have[words[1]] = words[2]
    for slot, (n, s) in newest.items():
        found = have.get(f"f{slot}")
        if found == s:
            continue
        # The write that was under way when the guest died may be there already.
        if slot == (top + 1) % FILES and found is not None:
            continue
        raise Failure(f"f{slot} in the guest has sum {found}; write {n} with sum {s} was acknowledged")
    return len(newest)


def image_tools(cluster, raw):
    """qemu-img: create, convert there and back, compare, check - between sites."""
    a, b = cluster.mount(cluster.sites[0]), cluster.mount(cluster.sites[1])
    run(["qemu-img", "create", "-q", "-f", "qcow2", f"{a}/empty.qcow2", "10G"])
    run(["qemu-img", "check", "-q", f"{b}/empty.qcow2"])
    run(["qemu-img", "convert", "-t", "none", "-O", "qcow2", raw, f"{a}/vm.qcow2"])
    run(["qemu-img", "check", "-q", f"{b}/vm.qcow2"])
    run(["qemu-img", "compare", "-q", raw, f"{b}/vm.qcow2"])
    run(["qemu-img", "convert", "-T", "none", "-t", "none", "-O", "raw", f"{b}/vm.qcow2", f"{b}/vm.raw"])
    run(["cmp", raw, f"{a}/vm.raw"])
    os.unlink(f"{a}/vm.raw")


def start_writer(guest, first=0):
    guest.command(WRITER.format(first=first, files=FILES))
    wait_for("the guest to write", lambda: len(guest.written) > 5, 60)


def other_site_dies(cluster, guest, site):
    """The guest goes on writing while all servers of another site are killed."""
    start_writer(guest)
    began = time.monotonic()
    for s in cluster.of(None, site):
        s.kill()
    count = len(guest.written)
    wait_for(f"the guest to go on without {site}", lambda: len(guest.written) > count + 30, 60)
    gap = guest.longest_gap(began)
    guest.stop_writer()
    print(f"{site} killed: longest gap between the guest's writes {gap:.2f} s", flush=True)
    if gap > GAP_MAX:
        raise Failure(f"the guest waited {gap:.2f} s when {site} died (limit {GAP_MAX} s)")


def refused_elsewhere(image):
    """A second machine on the same image is kept out by QEMU's own locks, across sites."""
    done = subprocess.run(["qemu-img", "info", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0 or "lock" not in done.stdout:
        raise Failure(f"an image in use by a guest was opened in another site as well:\n{done.stdout}")


def revive(cluster, site):
    os.system(f"umount -l {cluster.mount(site)} 2>/dev/null")
    for s in cluster.of(None, site):
        s.start()
    cluster.wait_mounted(30, [site])
    cluster.wait_healthy(120)


def kernel(cluster):
    os.environ["PATH"] += ":/sbin:/usr/sbin"
    return guest_image.fetch_kernel(cluster.root + "-kernel")


def test(cluster):
    scratch = cluster.root + "-scratch"
    os.makedirs(scratch, exist_ok=True)
    raw = f"{scratch}/vm.raw"
    guest_image.make_image(kernel(cluster), raw)
    cluster.start()
    cluster.wait_healthy(30)
    home, away, third = cluster.sites[:3]
    image_tools(cluster, raw)
    print("qemu-img: create, convert, check, compare are right in all sites", flush=True)
    path = {site: f"{cluster.mount(site)}/vm.qcow2" for site in cluster.sites}
    guests = []

    def boot(site):
        guests.append(Guest(path[site]))
        return guests[-1], guests[-1].ready()
    try:
        guest, _ = boot(home)
        refused_elsewhere(path[away])
        other_site_dies(cluster, guest, third)
        guest.shut_down()
        written = guest.written

        guest, code = boot(away)
        n = check_files(guest, written)
        print(f"booted in {away}: fsck {code}, {n} files as acknowledged", flush=True)
        if code != 0:
            raise Failure(f"the guest's fsck ended with {code} after a clean shutdown")
        revive(cluster, third)

        # Its site burns, and it is started again elsewhere.
        start_writer(guest, first=max(w[1] for w in written))
        guest.kill()
        for s in cluster.of(None, away):
            s.kill()
        written = written + guest.written
        guest, code = boot(third)
        n = check_files(guest, written)
        print(f"{away} killed with the guest; booted in {third}: fsck {code}, {n} files as acknowledged",
              flush=True)
        if code > 1:
            raise Failure(f"the guest's fsck ended with {code}")
        guest.shut_down()
        revive(cluster, away)
        run(["qemu-img", "check", "-q", path[home]])
        run(["qemu-img", "convert", "-O", "raw", path[home], f"{scratch}/after.raw"])
        run(["e2fsck", "-fn", f"{scratch}/after.raw?offset={guest_image.DATA_AT}"])
        print("image and filesystem are clean", flush=True)
    finally:
        for g in guests:
            g.kill()
    shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main_guard(test, Cluster(sys.argv[1], sys.argv[2]), prepare=kernel))
