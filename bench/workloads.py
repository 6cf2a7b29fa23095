"""What the measurements do on a file system: fio jobs, and loops over small files."""

import json
import os
import shutil
import subprocess
import time

from cluster import Failure


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def slowest_second(log):
    """Operations in the slowest second of a job, from fio's log; the last one may not be whole."""
    with open(log) as f:
        seconds = [int(line.split(",")[1]) for line in f]
    os.remove(log)
    return min(seconds[:-1] or seconds)


def fio(directory, unit, options, scratch, size, seconds):
    """(value, p50 ms, p99 ms, slowest second) of one fio job on directory/bench; scratch: for its log."""
    drop_caches()
    log = os.path.join(scratch, "fio")
    command = ["fio", "--name=b", f"--filename={directory}/bench", f"--size={size}", "--ioengine=psync",
               f"--runtime={seconds}", "--output-format=json", "--randseed=7", *options]
    if "--time_based" in options:
        command += [f"--write_iops_log={log}", "--log_avg_msec=1000"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"fio: {done.stderr or done.stdout}")
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    side = job["read"] if "read" in options[0] else job["write"]
    # a job that ends with fsync took until that was done
    seconds = max(job["job_runtime"] / 1000, 1e-9)
    value = side["io_bytes"] / seconds / (1 << 20) if unit == "MiB/s" else side["total_ios"] / seconds
    latency = job["sync"]["lat_ns"] if "--fdatasync=1" in options else side["clat_ns"]
    percentile = latency.get("percentile", {})
    return (value, percentile.get("50.000000", 0) / 1e6, percentile.get("99.000000", 0) / 1e6,
            slowest_second(log + "_iops.1.log") if "--time_based" in options else 0)


def create_share(path, count):
    """path: what the files' names begin with."""
    data = os.urandom(4096)
    for i in range(count):
        fd = os.open(f"{path}f{i}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, data)
        os.close(fd)


def stat_share(path, count):
    for i in range(count):
        os.stat(f"{path}f{i}")


def at_once(call, paths, count):
    """call(path, count) by a process for each path; how many a second of all."""
    began, workers = time.monotonic(), []
    for path in paths:
        workers.append(os.fork())
        if workers[-1] == 0:
            call(path, count)
            os._exit(0)
    if any(os.waitpid(w, 0)[1] for w in workers):
        raise Failure(f"{call.__name__}: a process failed")
    return count * len(paths) / (time.monotonic() - began)


def create_files(directory, count, processes):
    """create + write 4 KiB + close, files a second, each process in a directory of its own: the kernel
    lets one at a time create in a directory. Then stat of them, at once and again."""
    paths = [f"{directory}/files/{i}/" for i in range(processes)]
    for path in paths:
        os.makedirs(path)
    created = at_once(create_share, paths, count)
    again = at_once(stat_share, paths, count)
    known = at_once(stat_share, paths, count)
    shutil.rmtree(f"{directory}/files")
    return created, again, known
