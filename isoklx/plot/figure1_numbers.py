"""Numbers of Figure 1: quantiles or lines of each group and dose, and their counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from isoklx.errors import DatasetError, UsageError
from isoklx.plot.bands import MOST_BANDS, Kind, levels
from isoklx.plot.lines import in_memory_if_small, shown
from isoklx.plot.scope import doses_drawn, each_once, ran, split
from isoklx.plot.titles import span
from isoklx.stats.kernels.smoothing import Edges
from isoklx.stats.targets import above_target, crossed
from isoklx.stats.trajectories import bands, pmass_on_tokens, quantile, smooth

UNITS = {"pmass_eval": "prompt", "pmass": "question"}
"""Dimension of each pmass, in order of preference; the prompts are those of KL."""

POOLED = "pooled"
"""Suffix of the quantiles of all groups of a panel together."""

Answers = Literal["pmass", "pmass_eval"]

LINE, ANSWER_LINE = "line", "answer_line"
"""Dimensions of the lines of a spaghetti."""


@dataclass(frozen=True)
class Choice:
    """Options of `isoklx.plot.figure1` that decide its numbers."""

    kind: Kind | Literal["spaghetti"]
    by: str | None
    hue: str | None
    roll: int
    edges: Edges
    distinct: bool
    answers: str | None
    color_by_pmass: bool
    least_roll: int
    """Minimum roll of the median of a spaghetti."""

    @property
    def keys(self) -> list[str]:
        """Labels that define the groups: of rows, then of colours."""
        return [each for each in (self.by, self.hue) if each is not None]


def answers_of(ds: xr.Dataset, requested: Answers | None, *, kl_only: bool) -> str | None:
    """Return the pmass to draw: the requested one, or the first recorded; None if none is."""
    if requested is not None and requested not in UNITS:
        raise UsageError(f"pmass must be one of {', '.join(UNITS)}, got {requested!r}")
    if requested is not None and kl_only:
        raise UsageError(f"pmass={requested} has no effect with kl_only")
    if kl_only:
        return None
    recorded = [name for name in UNITS if ds[name].notnull().any()]
    if requested is not None and requested not in recorded:
        raise DatasetError(f"cannot draw {requested}: no cell of this sweep has it")
    return requested or next(iter(recorded), None)


def numbers(ds: xr.Dataset, choice: Choice) -> xr.Dataset:
    """Compute the numbers to draw, in memory, along ``alpha`` and the labels of `choice.keys`.

    Bands have ``kl`` and pmass along ``quantile``, and pooled ones if more than `MOST_BANDS` share
    a panel. Spaghetti has them along ``line`` and ``answer_line``, with medians and shares.
    """
    once = each_once(ds, choice.keys, distinct=choice.distinct)
    whole = {tuple(labels.items()): cells for labels, cells in split(ds, choice.keys)}
    distinct = {tuple(labels.items()): cells for labels, cells in split(once.distinct, choice.keys)}
    groups, lines = [], []
    for labels, cells in split(once.drawn, choice.keys):
        key = tuple(labels.items())
        found = _counts(whole[key], distinct[key], choice).merge(_targets(cells))
        if choice.kind == "spaghetti":
            medians, of_group = _spaghetti(cells, choice)
            found = found.merge(medians)
            lines += [_with_labels(each, labels) for each in of_group]
        else:
            found = found.merge(_bands(cells, choice))
        groups.append(found.assign_coords(labels))
    drawn = _concat_groups(groups, choice.keys)
    if choice.hue is not None and drawn.sizes[choice.hue] > MOST_BANDS:
        drawn = drawn.merge(_pooled(ds, choice))
    for dim in (LINE, ANSWER_LINE):
        of_kind = [each for each in lines if dim in each.dims]
        if of_kind:
            drawn = drawn.merge(lines_of_groups(of_kind, dim))
    total = xr.Dataset(
        {f"total_{name}": once.total[name].drop_vars("alpha") for name in once.total}
    )
    drawn = drawn.assign({name: ("alpha", total[name].values) for name in total})
    return drawn.assign_attrs(
        figure="figure1",
        window=int(ds["window"].max()),
        kind=choice.kind,
        by=choice.by or "",
        hue=choice.hue or "",
        roll=choice.roll,
        answers=choice.answers or "",
        answers_at="" if choice.answers is None else _probed_at(ds, choice.answers),
        doses=doses_drawn(ds),
        color_by_pmass=int(choice.color_by_pmass),
    )


def _probed_at(ds: xr.Dataset, answers: str) -> str:
    """Say in words at how many prompts or questions of each cell answers were probed."""
    probed = ds[answers].notnull().any(["alpha", "fork"]).sum(UNITS[answers]).values
    if answers == "pmass":
        return f"at {span('yes/no question', probed)}"
    return f"at the {span('prompt', probed)}"


def _pooled(ds: xr.Dataset, choice: Choice) -> xr.Dataset:
    """Compute the quantiles of all groups of a panel together."""
    keys = [] if choice.by is None else [choice.by]
    once = each_once(ds, keys, distinct=choice.distinct)
    found = [
        _bands(cells, choice).assign_coords(labels) for labels, cells in split(once.drawn, keys)
    ]
    drawn = _concat_groups(found, keys)
    return drawn.rename({name: f"{name}_{POOLED}" for name in drawn.data_vars})


def _bands(cells: xr.Dataset, choice: Choice) -> xr.Dataset:
    q = levels(choice.kind)  # type: ignore[arg-type]
    # Duplicates are left out already.
    found = {"kl": bands(cells["kl"], q, choice.roll, edges=choice.edges)}
    if choice.answers is not None:
        unit = UNITS[choice.answers]
        found[choice.answers] = quantile(cells[choice.answers], q, ["cell", unit])
    return xr.Dataset(found).compute()


def _spaghetti(cells: xr.Dataset, choice: Choice) -> tuple[xr.Dataset, list[xr.Dataset]]:
    """Compute the medians and shares of a group, and its lines, dose by dose."""
    doses = [_spaghetti_of_dose(cells.isel(alpha=i), choice) for i in range(cells.sizes["alpha"])]
    medians = xr.concat([each[0] for each in doses], "alpha")
    lines = [xr.concat([each[1] for each in doses], "alpha", coords="minimal", compat="override")]
    if choice.answers is not None:
        unit = UNITS[choice.answers]
        answers = cells[choice.answers].compute()
        median = quantile(answers, 0.5, ["cell", unit]).drop_vars("quantile")
        medians = medians.assign({f"{choice.answers}_median": median})
        some = answers.notnull().any(["alpha", "fork"])
        lines.append(by_line(answers.to_dataset(), unit, ANSWER_LINE, some))
    return medians, lines


def _spaghetti_of_dose(cells: xr.Dataset, choice: Choice) -> tuple[xr.Dataset, xr.Dataset]:
    needed = ["kl", "target_kl", "pmass_eval", "gen_len", "unpaired"]
    cells = in_memory_if_small(cells[[name for name in needed if name in cells]])
    known, over = cells["kl"].notnull(), crossed(cells)
    # The median of raw lines would be as rough as they are.
    roll = max(choice.roll, choice.least_roll)
    median = quantile(cells["kl"], 0.5).drop_vars("quantile")
    medians = xr.Dataset(
        {
            "crossed_share": over.sum() / known.any("token").sum(),
            "above_share": above_target(cells).sum() / known.sum(),
            "n_lines": known.any("token").sum(),
            "kl_median": smooth(median, roll, edges=choice.edges),
        }
    ).compute()
    part = shown(cells.assign(crossed=over)).compute()
    found = xr.Dataset(
        {
            "kl": smooth(part["kl"], choice.roll, edges=choice.edges),
            "crossed": part["crossed"].where(part["kl"].notnull().any("token")),
        }
    )
    if choice.color_by_pmass:
        found["pmass_on_tokens"] = pmass_on_tokens(part)
    some = xr.ones_like(part["gen_len"], bool)
    return medians, by_line(found, "prompt", LINE, some)


def by_line(ds: xr.Dataset, unit: str, dim: str, some: xr.DataArray) -> xr.Dataset:
    """Stack cells and units (prompts or questions) into rows along `dim`, named by both.

    Only the rows marked in `some` (cell, unit) are kept.
    """
    names = {f"{dim}_run_id": ds["run_id"], f"{dim}_{unit}": ds[unit]}
    ds = ds.drop_vars([name for name in ds.coords if name not in ("alpha", "token", "fork")])
    ds = ds.assign({name: da.drop_vars(da.coords) for name, da in names.items()})
    ds = ds.stack({dim: ["cell", unit]}, create_index=False)
    kept = some.stack({dim: ["cell", unit]}, create_index=False).values
    return ds.isel({dim: np.flatnonzero(kept)}).set_coords(list(names))


def lines_of_groups(parts: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Concatenate the lines of all groups; a single group is not copied."""
    if len(parts) == 1:
        return parts[0]
    return xr.concat(parts, dim, data_vars="minimal", coords="minimal", compat="equals")


def _with_labels(lines: xr.Dataset, labels: dict[str, Any]) -> xr.Dataset:
    dim = LINE if LINE in lines.dims else ANSWER_LINE
    size = lines.sizes[dim]
    named = {f"{dim}_{name}": (dim, [label] * size) for name, label in labels.items()}
    return lines.assign_coords(named)


def _counts(whole: xr.Dataset, distinct: xr.Dataset, choice: Choice) -> xr.Dataset:
    counts = {"n": ran(whole), "n_distinct": ran(distinct)}
    if choice.answers is not None:
        dims = ["cell", UNITS[choice.answers]]
        for name, cells in (("n_answers", whole), ("n_answers_distinct", distinct)):
            counts[name] = cells[choice.answers].notnull().any("fork").sum(dims)
    return xr.Dataset(counts).compute()


def _targets(cells: xr.Dataset) -> xr.Dataset:
    return xr.Dataset({"target_kl": ("target", np.unique(cells["target_kl"].values))})


def _concat_groups(groups: Sequence[xr.Dataset], keys: Sequence[str]) -> xr.Dataset:
    """Concatenate groups along their labels."""
    if not keys:
        return groups[0]
    how: dict[str, Any] = {"data_vars": "all", "coords": "minimal", "compat": "override"}
    if len(keys) == 1:
        return xr.concat(groups, keys[0], join="outer", **how)
    rows: dict[Any, list[xr.Dataset]] = {}
    for each in groups:
        rows.setdefault(each[keys[0]].item(), []).append(each)
    inner = [xr.concat(each, keys[1], join="outer", **how) for each in rows.values()]
    return xr.concat(inner, keys[0], join="outer", **how)
