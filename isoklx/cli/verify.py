"""The command that checks a built file."""

from __future__ import annotations

from pathlib import Path


def verify(file: Path, *, root: tuple[Path, ...] = ()) -> None:
    """Check a built file: its form, its numbers, and that they are those of the runs roots.

    One line for each finding, and exit status 1 if there is any. Without --root the file is
    checked by itself: schema, labels, ranges, lengths, flags. With it, also that it has the cells
    of the roots, from files of the same hash, and that every value is what the reader of build
    makes of the JSON.

    Parameters
    ----------
    file : Path
        A file that build wrote.
    root : tuple of Path, optional
        The runs roots that it was built from.

    Examples
    --------
    $ isoklx verify outputs.nc
    $ isoklx verify outputs.nc --root outputs
    $ isoklx verify both.nc --root runs_a,runs_b
    """
    import isoklx.sweeps.verification
    from isoklx.errors import DatasetError
    from isoklx.terminal import printable

    findings = isoklx.sweeps.verification.verify(file, root)
    for finding in findings:
        print(printable(finding))
    if findings:
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        raise DatasetError(f"{file}: {count}")
    compared = f"compared with {', '.join(map(str, root))}" if root else "not compared with a root"
    print(printable(f"{file}: no finding, {compared}"))
