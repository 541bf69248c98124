"""Declarations of every dimension and variable: dims, dtype, units and meaning.

Assembly, validation, the file's attributes and the documentation read these tables; no other module
repeats a dtype or a unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isoklx.errors import DatasetError

if TYPE_CHECKING:
    import xarray as xr

SCHEMA_VERSION = 3
"""Increased whenever a reader of older files would misread a newer one."""

CONVENTIONS = "CF-1.11, ACDD-1.3"

SAME_DOSE = 1e-9
"""Largest difference of equal doses, relative to the larger one."""

DIMS = ("cell", "alpha", "prompt", "token", "fork", "question", "iteration")

NATS = "In nats; dimensionless, because a nat is a ratio and UDUNITS knows no such unit."


@dataclass(frozen=True)
class Variable:
    """Declaration of one variable of the Dataset."""

    dims: tuple[str, ...]  # in order of storage
    dtype: str  # numpy dtype on disk, or "str"
    long_name: str
    units: str | None = "1"  # UDUNITS; None for labels, texts and flags
    fill: float | int | None = None  # _FillValue on disk; None where every element is defined
    measured: bool = False  # widened to float64 by --dtype
    attrs: Mapping[str, object] = field(default_factory=dict)  # further CF attributes
    split: bool = False  # see SPLIT
    key: tuple[str, ...] = ()  # keys of calib.json that lead to a split label, outermost first
    absent: str | float = ""  # value of a split label in a cell that does not record it

    @property
    def attributes(self) -> dict[str, object]:
        """Attributes in netCDF, in the order in which they are shown."""
        units = {} if self.units is None else {"units": self.units}
        return {"long_name": self.long_name, **units, **self.attrs}


def _measured(dims: tuple[str, ...], long_name: str, **attrs: object) -> Variable:
    return Variable(dims, "float32", long_name, fill=float("nan"), measured=True, attrs=attrs)


def _summary(dims: tuple[str, ...], long_name: str, **attrs: object) -> Variable:
    return Variable(dims, "float64", long_name, fill=float("nan"), attrs=attrs)


def _text(long_name: str, **attrs: object) -> Variable:
    return Variable(("cell",), "str", long_name, units=None, attrs=attrs)


def _label(dim: str, dtype: str, long_name: str, **attrs: object) -> Variable:
    # Without units: xarray would write "generated token [1]" at an axis.
    return Variable((dim,), dtype, long_name, units=None, attrs=attrs)


def _split(dtype: str, long_name: str, absent: str | float, *key: str, comment: str) -> Variable:
    return Variable(
        ("cell",),
        dtype,
        long_name,
        units=None,
        attrs={"comment": comment},
        split=True,
        key=key,
        absent=absent,
    )


def _flag(
    long_name: str, absent: str, present: str, dims: tuple[str, ...] = ("cell",), **attrs: object
) -> Variable:
    values = np.array([0, 1], dtype="int8")
    flags = {"flag_values": values, "flag_meanings": f"{absent} {present}"}
    return Variable(dims, "int8", long_name, units=None, attrs={**flags, **attrs})


TRAJECTORY = ("cell", "alpha", "prompt", "token")
DOSE = ("cell", "alpha")
CALIBRATION = ("cell", "iteration")

COORDINATES: Mapping[str, Variable] = {
    "alpha": _label(
        "alpha",
        "float64",
        "steering dose, in units of the calibrated coefficient",
        comment="coeff = alpha * c_star",
    ),
    "prompt": _label("prompt", "int32", "index of the held-out prompt"),
    "token": _label("token", "int32", "generated token"),
    "fork": _label(
        "fork",
        "int32",
        "token at which the rollout is interrupted and the model probed",
        comment="In tokens. A cell has values at its own fork points only.",
    ),
    "question": _label("question", "int32", "index of the yes/no question"),
    "iteration": _label("iteration", "int32", "step of the calibration"),
    "run_id": _text("name of the cell's folder", cf_role="timeseries_id"),
    "model": _text("language model, as organisation/name"),
    "model_short": _text("language model, without its organisation"),
    "method": _text("method that made the steering vector"),
    "seed": _label("cell", "int64", "random seed of the run"),
    "layer": _label("cell", "int32", "layer that the steering vector is added to"),
    "window": _label("cell", "int32", "length of the rollout", comment="In tokens."),
    "sign": _split(
        "str",
        "side of the direction along which the model is steered",
        "+",
        comment="The sign of c_star: + or -.",
    ),
    "temperature": _split(
        "float64",
        "temperature at which tokens are sampled",
        math.nan,
        "measured_with",
        "temperature",
        comment="0 is greedy decoding; NaN: not recorded.",
    ),
}
"""Index coordinates of the dimensions, then the labels of a cell."""

DATA: Mapping[str, Variable] = {
    "kl": _measured(
        TRAJECTORY,
        "KL(steered || base)",
        comment=f"{NATS} NaN after the rollout's end, beyond the window, or where it was not run.",
        ancillary_variables="gen_len",
    ),
    "pmass_eval": _measured(
        ("cell", "alpha", "prompt", "fork"),
        "probability mass on the two valid answers, at the prompts of kl",
        comment="NaN past the rollout's end and at forks that this cell lacks.",
        ancillary_variables="gen_len",
    ),
    "pmass": _measured(
        ("cell", "alpha", "question", "fork"),
        "probability mass on the two valid answers, at yes/no questions",
        comment="NaN past the rollout's end and at forks that this cell lacks.",
        ancillary_variables="gen_len_qa",
    ),
    "p_true": _measured(
        ("cell", "alpha", "question", "fork"),
        "probability of the answer true, at yes/no questions",
        comment="NaN past the rollout's end and at forks that this cell lacks.",
        ancillary_variables="gen_len_qa",
    ),
    "gen_len": Variable(
        ("cell", "alpha", "prompt"),
        "int32",
        "number of tokens generated from the prompt",
        fill=-1,
        attrs={"comment": "As recorded, else counted to the last finite KL; missing: not run."},
    ),
    "gen_len_qa": Variable(
        ("cell", "alpha", "question"),
        "int32",
        "number of tokens generated from the question",
        fill=-1,
        attrs={"comment": "As recorded; missing: not run."},
    ),
    "answer": Variable(
        ("cell", "question"),
        "int32",
        "recorded answer of the yes/no question",
        units=None,
        fill=-1,
        attrs={
            "comment": "As recorded; missing: not recorded.",
            "flag_values": np.array([0, 1], dtype="int32"),
            "flag_meanings": "false true",
        },
    ),
    "c_star": _summary(("cell",), "calibrated steering coefficient"),
    "target_kl": _summary(
        ("cell",),
        "target of the calibration, for a statistic of KL",
        comment=f"{NATS} See target_stat.",
    ),
    "target_stat": _text(
        "statistic of KL that the calibration brings to target_kl",
        comment="One of p95, rms and mean, over tokens and prompts.",
    ),
    "repetition": Variable(
        ("cell", "alpha", "prompt"),
        "float32",
        "largest share of repeated 3-grams of tokens in any 128 tokens of the rollout",
        fill=float("nan"),
        attrs={"comment": "As recorded; NaN: not recorded."},
    ),
    "coeff": _summary(DOSE, "steering coefficient", comment="As recorded, else alpha * c_star."),
    "kl_mean": _summary(
        DOSE,
        "mean of KL over prompts and tokens",
        comment=f"{NATS} As recorded, else computed from kl.",
    ),
    "kl_p95": _summary(
        DOSE,
        "95th percentile of KL over prompts and tokens",
        comment=f"{NATS} As recorded, else computed from kl.",
    ),
    "kl_max": _summary(
        DOSE,
        "largest KL over prompts and tokens",
        comment=f"{NATS} As recorded, else computed from kl.",
    ),
    "calib_coeff": _summary(CALIBRATION, "steering coefficient that the calibration tried"),
    "calib_kl_mean": _summary(CALIBRATION, "mean of KL at that coefficient", comment=NATS),
    "calib_kl_p95": _summary(
        CALIBRATION, "95th percentile of KL at that coefficient", comment=NATS
    ),
    "calib_kl_max": _summary(CALIBRATION, "largest KL at that coefficient", comment=NATS),
    "has_kl": _flag("whether the cell has per-token KL", "absent", "present"),
    "has_pmass": _flag("whether the cell has pmass", "absent", "present"),
    "unpaired": _flag(
        "whether prompts of kl are not those of pmass_eval and gen_len",
        "paired",
        "unpaired",
        DOSE,
        comment="The numbers of rows differ, so that rows cannot be matched by prompt.",
    ),
    "calib_newer": _flag(
        "whether the cell's calibration is newer than the results beside it",
        "not_newer",
        "newer",
        comment="By file times. Newer: the results may come from an earlier run.",
    ),
    "measured_with": _text(
        "settings and software that the cell was measured with",
        comment="JSON, as recorded: versions, dtype, device and others. Empty: not recorded.",
    ),
    "source_hash": _text(
        "SHA-256 of the cell's source files",
        comment="Over name, size and bytes of each file, in the order of the cell format.",
    ),
}
"""Data variables."""

VARIABLES: Mapping[str, Variable] = {**COORDINATES, **DATA}
"""Variables of every sweep."""

TEXTS: Mapping[str, Variable] = {
    "prompt_text": Variable(
        ("cell", "prompt"),
        "str",
        "text of the held-out prompt",
        units=None,
        attrs={"comment": "As recorded; empty: not recorded. NUL is stored as U+2400."},
    ),
    "gen_text": Variable(
        ("cell", "alpha", "prompt"),
        "str",
        "text that was generated from the prompt",
        units=None,
        attrs={"comment": "As recorded; empty: not recorded. NUL is stored as U+2400."},
    ),
    "token_chars": Variable(
        TRAJECTORY,
        "int16",
        "number of characters of gen_text that come from the token",
        attrs={"comment": "Unicode code points. 0 throughout: not recorded token by token."},
    ),
}
"""Further variables of a sweep built with texts."""

ANY: Mapping[str, Variable] = {**VARIABLES, **TEXTS}
"""All possible variables of a sweep."""

MEASURED = tuple(name for name, var in DATA.items() if var.measured)
"""Large arrays of values that models measured, per token or per fork."""

CELL_LABELS = tuple(name for name, var in COORDINATES.items() if var.dims == ("cell",))
"""Coordinates along ``cell``, which identify a cell."""

SPLIT = tuple(name for name, var in COORDINATES.items() if var.split)
"""Labels that are never pooled unasked: a group with several values is split by them."""


def require(ds: xr.Dataset, names: Iterable[str]) -> None:
    """Raise DatasetError unless ``ds`` has the variables `names` with all their dimensions."""
    found = variables_of(ds)
    names = list(dict.fromkeys(names))
    missing = [name for name in names if name not in found]
    if missing:
        raise DatasetError(f"not an isoklx sweep: it has no {', '.join(missing)}")
    for name in names:
        if name not in ANY:
            continue
        own, dims = found[name].dims, ANY[name].dims
        extra = [str(dim) for dim in own if dim not in dims]
        if extra:
            raise DatasetError(
                f"not an isoklx sweep: {name} has the dimension {', '.join(extra)}; "
                f"expected {', '.join(dims)}"
            )
        lost = [dim for dim in dims if dim not in own and not is_single(ds, dim)]
        if lost:
            raise DatasetError(f"not an isoklx sweep: {name} has no dimension {', '.join(lost)}")


def variables_of(ds: xr.Dataset) -> Mapping[Any, xr.Variable]:
    """Return ``ds.variables``; raise DatasetError where `ds` is not a Dataset."""
    found: Mapping[Any, xr.Variable] | None = getattr(ds, "variables", None)
    if found is None:
        name = type(ds).__name__
        raise DatasetError(
            f"not an isoklx sweep: expected xarray.Dataset, got {name}; isoklx.open_sweep opens one"
        )
    return found


def is_single(ds: xr.Dataset, dim: str) -> bool:
    """Return whether selecting a single label has dropped the dimension."""
    if dim in ds.dims:
        return False
    labels = CELL_LABELS if dim == "cell" else (dim,)
    return any(label in ds.variables and not ds.variables[label].dims for label in labels)


def same_dose(a: Any, b: Any) -> Any:
    """Return whether doses differ by at most `SAME_DOSE`, relative; False for NaN."""
    if isinstance(a, float) and isinstance(b, float):  # the same rule without numpy's overhead
        return math.isclose(a, b, rel_tol=SAME_DOSE)
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a - b)
    close = apart <= SAME_DOSE * np.maximum(np.abs(a), np.abs(b))
    return (close & np.isfinite(apart)) | (a == b)
