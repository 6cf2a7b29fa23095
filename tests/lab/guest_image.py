"""A small bootable disk image, made without mounting anything.

Debian's cloud kernel and an initramfs of busybox on a FAT partition that syslinux boots, and an
ext4 partition for data. The guest runs shell commands that come on its serial console.
"""

import glob
import os
import shutil

from cluster import Failure, run

MIB = 1 << 20
SECTOR = 512
BOOT_AT, BOOT_MIB = 1 * MIB, 24
DATA_AT = (1 + BOOT_MIB) * MIB
MODULES = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"]
APPLETS = ["sh", "mount", "umount", "modprobe", "cat", "echo", "dd", "sync", "poweroff", "md5sum", "stty",
           "ls", "rm", "mv", "cut"]

# The console is the guest's only door: a line is a command, its end is told with its exit code.
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for m in {modules}; do modprobe $m; done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
e2fsck -p /dev/vda2
echo "fsck $?"
mount -t ext4 /dev/vda2 /mnt && echo "guest ready"
while read -r line; do
	eval "$line"
	echo "done $?"
done
"""


def kernel_package():
    """Name of the newest cloud kernel of this release, as its metapackage says it."""
    for line in run(["apt-cache", "--no-all-versions", "show", "linux-image-cloud-amd64"]).splitlines():
        if line.startswith("Depends: linux-image-"):
            return line.split()[1].rstrip(",")
    raise Failure("apt knows no package linux-image-cloud-amd64; run apt-get update")


def fetch_kernel(directory):
    """Downloads and unpacks (does not install) the kernel, once. The unpacked tree."""
    tree = os.path.join(directory, "kernel")
    if os.path.exists(tree):
        return tree
    os.makedirs(directory, exist_ok=True)
    for old in glob.glob(f"{directory}/*.deb"):
        os.unlink(old)
    run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download",
         kernel_package()], cwd=directory)
    shutil.rmtree(tree + ".part", ignore_errors=True)
    run(["dpkg-deb", "-x", *glob.glob(f"{directory}/*.deb"), tree + ".part"])
    version = os.listdir(f"{tree}.part/lib/modules")[0]
    run(["depmod", "-b", tree + ".part", version])
    os.rename(tree + ".part", tree)
    return tree


def loadable(modules):
    """Those of MODULES that this kernel has not built in."""
    with open(f"{modules}/modules.builtin") as f:
        builtin = {os.path.basename(line).partition(".")[0] for line in f}
    return [m for m in MODULES if m not in builtin]


def module_files(modules):
    """Paths, relative to `modules`, of what is loadable() and all it depends on."""
    depends = {}
    with open(f"{modules}/modules.dep") as f:
        for line in f:
            path, _, rest = line.partition(":")
            depends[os.path.basename(path).partition(".")[0]] = [path] + rest.split()
    return sorted({path for m in loadable(modules) for path in depends[m]})


def make_initramfs(tree, scratch):
    root = f"{scratch}/initramfs"
    version = os.listdir(f"{tree}/lib/modules")[0]
    modules = f"lib/modules/{version}"
    for d in ("bin", "proc", "sys", "dev", "mnt", "tmp", modules):
        os.makedirs(f"{root}/{d}")
    for path in module_files(f"{tree}/{modules}"):
        os.makedirs(os.path.dirname(f"{root}/{modules}/{path}"), exist_ok=True)
        shutil.copy(f"{tree}/{modules}/{path}", f"{root}/{modules}/{path}")
    run(["depmod", "-b", root, version])
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    shutil.copy("/sbin/e2fsck.static", f"{root}/bin/e2fsck")
    for name in APPLETS:
        os.symlink("busybox", f"{root}/bin/{name}")
    with open(f"{root}/init", "w") as f:
        f.write(INIT.format(modules=" ".join(loadable(f"{tree}/{modules}"))))
    os.chmod(f"{root}/init", 0o755)
    run(["sh", "-c", f"cd {root} && find . | cpio -o -H newc --quiet | gzip -1 >{scratch}/initrd"])
    return f"{scratch}/initrd"


def make_image(tree, path, size_mib=128):
    """Writes a raw disk image to `path`, beside whatever scratch files it needs meanwhile."""
    scratch = path + ".parts"
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    initrd = make_initramfs(tree, scratch)
    kernel = glob.glob(f"{tree}/boot/vmlinuz-*")[0]
    with open(f"{scratch}/syslinux.cfg", "w") as f:
        f.write("DEFAULT linux\nLABEL linux\nKERNEL vmlinuz\nINITRD initrd\n"
                "APPEND console=ttyS0 quiet panic=-1 rdinit=/init\n")
    with open(path, "wb") as f:
        f.truncate(size_mib * MIB)
    sectors = BOOT_MIB * MIB // SECTOR
    table = (f"label: dos\nstart={BOOT_AT // SECTOR}, size={sectors}, type=c, bootable\n"
             f"start={DATA_AT // SECTOR}, type=83\n")
    run(["sfdisk", "--quiet", path], input=table)
    boot = f"{path}@@{BOOT_AT}"
    run(["mformat", "-i", boot, "-T", str(sectors), "-h", "255", "-s", "63", "-H", str(BOOT_AT // SECTOR), "::"])
    run(["mcopy", "-i", boot, kernel, "::vmlinuz"])
    run(["mcopy", "-i", boot, initrd, f"{scratch}/syslinux.cfg", "::"])
    run(["syslinux", "--install", "--offset", str(BOOT_AT), path])
    with open("/usr/lib/syslinux/mbr/mbr.bin", "rb") as mbr, open(path, "r+b") as f:
        f.write(mbr.read())
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={DATA_AT}", path, f"{size_mib - BOOT_MIB - 2}M"])
    shutil.rmtree(scratch)
