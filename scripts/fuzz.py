"""Break valid cells at random, and check that each is read as its files say, or reported.

python scripts/fuzz.py [--cases 20000] [--seed 0]

Every case is read as a build's worker reads it; one in twenty goes through a whole build and is
read back from the file by netCDF4. A value that differs from that of json, csv and plain loops, an
error other than a report, and a valid neighbour that is not in the file are losses: they are
printed with the case's number, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing.checking import build, read, valid_cells
from tests.fuzzing.mutations import mutated

BUILT = 20
"""One case in so many goes through a whole build."""


def main() -> int:
    """Try cases, and say how they went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="try this one alone")
    arguments = parser.parse_args()
    cells = valid_cells()
    cases = range(arguments.cases) if arguments.case is None else [arguments.case]
    seen: Counter[str] = Counter()
    start = time.monotonic()
    for case in cases:
        rng = Random(f"{arguments.seed} {case}")
        files = mutated(rng.choice(cells), rng)
        try:
            with TemporaryDirectory(prefix="isoklx-fuzz-") as folder:
                root = Path(folder) / "runs"
                root.mkdir()
                whole = case % BUILT == 0
                was_read = build(files, root, cells[0], rng) if whole else read(files, root)
        except Exception:  # noqa: BLE001 - whatever it is, it is what this looks for
            seen["losses"] += 1
            print(f"case {case} of seed {arguments.seed} is lost:")
            traceback.print_exc(limit=-2, file=sys.stdout)
        else:
            seen["read" if was_read else "reported"] += 1
            seen["by a whole build"] += whole
    kinds = ", ".join(f"{seen[kind]} {kind}" for kind in ("read", "reported", "by a whole build"))
    seconds = time.monotonic() - start
    print(f"{len(cases)} cases tried: {kinds}; {seen['losses']} losses ({seconds:.0f} s)")
    return 1 if seen["losses"] else 0


if __name__ == "__main__":
    sys.exit(main())
