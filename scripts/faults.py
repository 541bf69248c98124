"""Kill builds, stop them, take their room away, and damage what they wrote.

python scripts/faults.py [--times 500] [--seed 0]

After every kill the target is the whole old file or the whole new one, and the next build removes
what the dead one left. After every stop, and every build that ran out of room, there is no litter.
Every damaged file is refused or reported in one line by every command, and `verify --root` passes
none in which a number or a text has changed. Anything else is a loss, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import faults
from tests.damage import COMMANDS, damaged, outcome

KIB = 1024


def main() -> int:
    """Try all of it, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=500, help="of each kind (default: 500)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, losses = Random(arguments.seed), 0
    with TemporaryDirectory(prefix="isoklx-faults-") as folder:
        scene = faults.Scene.at(Path(folder))
        for how, jobs in (
            (signal.SIGKILL, 1),
            (signal.SIGKILL, 2),
            (signal.SIGTERM, 1),
            (signal.SIGTERM, 2),
            (signal.SIGINT, 1),
        ):
            seen = faults.kill_at_random(scene, arguments.times, rng, how, jobs)
            lost = arguments.times - seen["old"] - seen["new"]
            lost += seen["left litter"] if how != signal.SIGKILL else 0
            losses += lost
            print(f"{how.name}, {jobs} at work: {dict(seen)}; {lost} losses", flush=True)
        losses += fill(scene, arguments.times, rng)
        losses += damage(scene, arguments.times, rng)
    return 1 if losses else 0


def fill(scene: faults.Scene, times: int, rng: Random) -> int:
    """Build on disks too small for it."""
    disk, seen = scene.out.parent, Counter[str]()
    needed = 3 * scene.old_file.stat().st_size // KIB
    for _ in range(times // 10):
        size = rng.randrange(scene.old_file.stat().st_size // KIB + 8, needed)
        made = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)]
        if os.geteuid() != 0 or subprocess.run(made, check=False).returncode:
            print("full disks: not tried, as no file system can be mounted here")
            return 0
        try:
            scene.reset()
            with faults.SERVER.Pool(1) as pool:
                error = pool.apply(faults.build_with_room_for, (2**40, scene.new, scene.out))
            said = error.endswith(": cannot be written: No space left on device")
            fine = not scene.litter() and (scene.found(), said) in (("old", True), ("new", False))
            seen["fits" if not error else "full" if fine else "losses"] += 1
            if not fine:
                print(f"lost at {size} KiB: {scene.found()}, {scene.litter()}, {error}")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    print(f"full disks: {dict(seen)}", flush=True)
    return seen["losses"]


def damage(scene: faults.Scene, times: int, rng: Random) -> int:
    """Change bytes of a file, and ask every command about it."""
    whole, seen = scene.old_file.read_bytes(), Counter[str]()
    good = faults.content(scene.old_file)
    for case in range(times):
        scene.out.write_bytes(damaged(whole, rng))
        # Each in a process of its own, for libhdf5 may crash on such a file.
        for command in COMMANDS:
            words = ("--root", str(scene.old)) if command == "verify" else ()
            with ProcessPoolExecutor(1, mp_context=faults.SERVER) as pool:
                try:
                    status, said, err = pool.submit(outcome, command, scene.out, *words).result()
                except BrokenProcessPool:
                    seen["libhdf5 crashed"] += 1
                    continue
            line = len(err.splitlines()) == (status != 0) and "bug" not in err
            passed = command == "verify" and status == 0 and not same(scene.out, good)
            kind = "reported" if status else "nothing noticed"
            seen[kind if line and not passed else "losses"] += 1
            if not line or passed:
                print(f"lost in case {case}: {command}: {status} {said[-200:]!r} {err!r}")
    print(f"damaged files, each to {len(COMMANDS)} commands: {dict(seen)}", flush=True)
    return seen["losses"]


def same(file: Path, good: str) -> bool:
    """Return whether every value is unchanged."""
    with faults.SERVER.Pool(1) as pool:
        return bool(pool.apply(faults.content, (file,)) == good)


if __name__ == "__main__":
    sys.exit(main())
