"""Runs the same programs on the same inputs on the host and in a guest and compares what they write, byte for byte."""

import base64
import gzip
import hashlib
import os
import re

from guestlib import Failed, Guest
from guestroot import Native


def digest(data):
    return hashlib.sha256(data).hexdigest()


def native_results(selection, files, jobs):
    """{name: bytes} of /job/NAME.out for jobs {name: command}."""
    results = {}
    with Native(selection, files) as native:
        for name, command in jobs.items():
            status = native.run(command)
            if status or native.errors:
                raise Failed(f"natively, {name} ends with status {status}: {native.errors[-500:]}")
            results[name] = native.read(name + ".out")
            os.unlink(native.path(name + ".out"))
    return results


def compare(test, selection, files, jobs, smp=1):
    """Figures, or Failed with the first difference of each job; both results are left in the folder of the state file."""
    expected = native_results(selection, files, jobs)
    lists = {"jobs": "".join(f"{name}\t{command}\n" for name, command in jobs.items()).encode(),
             "expected": "".join(f"{name} {digest(data)}\n" for name, data in expected.items()).encode()}
    guest = Guest(test, selection, "jobs.sh", {**files, **lists}, smp=smp)
    done, problems = guest.records("done"), []
    for name, data in expected.items():
        record = done.get(name)
        if record is None:
            problems.append(f"{name} did not run")
        elif record["status"] != "0":
            problems.append(f"{name}: status {record['status']}: {guest.value('stderr-' + name)}")
        elif record.get("digest") != digest(data):
            problems.append(f"{name}: " + difference(test, name, data, "".join(guest.values("data-" + name))))
    figures = {"jobs": len(done), "bytes": sum(map(len, expected.values())), "boot-to-end": round(guest.seconds, 1),
               "job-seconds": {name: int(r["hundredths"]) / 100 for name, r in done.items()}}
    if problems:
        raise Failed("; ".join(problems), **figures)
    guest.check_kernel()
    return figures


def difference(test, name, native, packed):
    try:
        got = gzip.decompress(base64.b64decode(packed))
    except (OSError, ValueError, EOFError):
        return "differs, and the guest's result did not come over whole"
    folder = os.path.join(os.path.dirname(os.path.abspath(test.state_file)), test.name + ".differences")
    os.makedirs(folder, exist_ok=True)
    for suffix, data in ((".native", native), (".guest", got)):
        with open(os.path.join(folder, re.sub(r"\W", "-", name) + suffix), "wb") as f:
            f.write(data)
    at = next((i for i, (a, b) in enumerate(zip(native, got)) if a != b), min(len(native), len(got)))
    return f"{len(native)} bytes natively, {len(got)} in the guest, first difference at {at}; both are in {folder}"
