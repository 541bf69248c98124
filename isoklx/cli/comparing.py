"""The command that compares two sweeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from isoklx.cells.paths import as_path
from isoklx.cli.choosing import Scope, chosen
from isoklx.cli.delivery import Delivery, print_tables, say_delivered, write_table
from isoklx.cli.explanations import explained_by
from isoklx.cli.option_groups import grouped
from isoklx.cli.outputs import TABLES
from isoklx.errors import UsageError
from isoklx.terminal import printable

if TYPE_CHECKING:
    import xarray as xr


@explained_by("isoklx.stats.survival.survival", "isoklx.tables.comparison.compare")
def _compare(
    a: Path,
    b: Path,
    *,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    distinct: bool = True,
    ended: Literal["censored", "alive"] = "censored",
    scope: Scope,
    delivery: Delivery,
) -> None:
    """Print what changed from sweep A to sweep B, in the cells that both have.

    Three tables: which cells are in both, with c_star of each; the settings that differ; and at
    each dose survival and KL of both, with the difference in survival, paired by prompt where the
    prompts are the same. Into a folder each is written as compare_cells, compare_settings and
    compare_doses.

    Parameters
    ----------
    a, b : Path
        A file that build wrote, or a runs root.
    distinct : bool
        Show every cell at every dose, those too that repeat another to the byte in both sweeps.
    out : path
        Folder to write to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, in one object: cells, settings, doses.

    Examples
    --------
    $ isoklx compare before.nc after.nc
    $ isoklx compare outputs_2025 outputs --threshold 0.95 --out tables
    """
    from isoklx.tables.captioned_comparison import comparison

    target = delivery.target(())
    refuse_one_sweep(a, b)
    with ExitStack() as stack:
        one, other = (opened_part(stack, path, scope) for path in (a, b))
        called = printable(a), printable(b)
        tables = comparison(one, other, called, metric, threshold, distinct, ended)
        names = {f"compare_{name}": table for name, table in tables.items()}
        written = [path for name in names for path in write_table(names[name], name, target)]
    print_tables(tables, json=delivery.json)
    say_delivered(target, written, dict.fromkeys(names, TABLES), json=delivery.json)


def refuse_one_sweep(a: Path, b: Path) -> None:
    """Raise UsageError where both paths lead to the same file or folder."""
    if as_path(a).resolve() == as_path(b).resolve():
        raise UsageError(f"{a} and {b} are one and the same; give two sweeps")


def opened_part(stack: ExitStack, path: Path, scope: Scope) -> xr.Dataset:
    """Open the part of a sweep that was asked for, with its texts; an error names the sweep."""
    import isoklx.sweeps.opening

    ds = stack.enter_context(isoklx.sweeps.opening.open_sweep(path, texts=True))
    try:
        return chosen(ds, scope)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


compare: Callable[..., None] = grouped(_compare)
