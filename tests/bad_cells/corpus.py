"""Every kind of bad cell: how a good one is broken, and what a build must make of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bad_cells.good_cell import (
    HISTORY,
    KL,
    RESULTS,
    Change,
    content,
    entry,
    half,
    instead,
    renamed,
    spelt,
)
from tests.handmade import NAN

CALIB, TRAJECTORY, PMASS = "calib.json", "trajectory.json", "pmass.json"
STEPS, DOSES = "history.json", "results.csv"
BOM = b"\xef\xbb\xbf"
JSON_FILES = (CALIB, TRAJECTORY, PMASS, STEPS)


@dataclass(frozen=True)
class Skipped:
    """The cell is reported by folder, file and reason (a pattern); the others are built."""

    change: Change
    file: str
    reason: str
    unprivileged: bool = False


@dataclass(frozen=True)
class Read:
    """The cell is read, and these values differ from the good cell's; `meaning` says why."""

    change: Change
    meaning: str
    values: dict[str, Any] = field(default_factory=dict)
    alphas: tuple[float, ...] = (0.5, 1.0)
    forks: tuple[int, ...] = (0, 2)
    notes: tuple[str, ...] = ()


def both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def row(text: str) -> Change:
    """Spell one row of KL."""
    return spelt(TRAJECTORY, "[1, 2, 3, 4]", text)


def alpha_key(text: str) -> Change:
    return spelt(TRAJECTORY, '"1.0"', f'"{text}"')


def calib(key: str, value: Any) -> Change:
    return entry(CALIB, key, value=value)


def looped(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def dangling(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


def moved_out(folder: Path) -> None:
    outside = folder.parent.parent / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)


def file_moved_out(folder: Path) -> None:
    outside = folder.parent.parent / "elsewhere.json"
    (folder / PMASS).rename(outside)
    (folder / PMASS).symlink_to(outside)


def unswept(folder: Path) -> None:
    for file in (*JSON_FILES[1:], DOSES):
        (folder / file).unlink()


def unreadable(folder: Path) -> None:
    folder.chmod(0)


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def stale(folder: Path) -> None:
    content(TRAJECTORY, {"per_t_p95_kl": {"1.0": [0.0]}})(folder)


def uneven(folder: Path) -> None:
    rows = [[0.5] * 20_000] + [[]] * 20_000
    content(TRAJECTORY, {KL: {"1.0": rows}})(folder)
    calib("window", 20_000)(folder)


def uneven_alphas(folder: Path) -> None:
    content(TRAJECTORY, {KL: {"0.5": [[0.5] * 9_000], "1.0": [[0.5]] * 9_000}})(folder)
    calib("window", 10_000)(folder)


def many_lengths(folder: Path) -> None:
    content(TRAJECTORY, {KL: {"1.0": [[0.5] * 10_000]}})(folder)
    content(PMASS, {"gen_lens_eval": {"1.0": [0] * 9_999 + [9]}})(folder)
    calib("window", 10_000)(folder)


def later(file: str, seconds: float) -> Change:
    """Give a file a time after all others'."""

    def change(folder: Path) -> None:
        newest = max(path.stat().st_mtime for path in folder.iterdir())
        os.utime(folder / file, (newest + seconds,) * 2)

    return change


def unswept_since(folder: Path) -> None:
    unswept(folder)
    later(CALIB, 3600)(folder)


LONG = "m" * 300
ODD = "a \"b\" 'c' $x_1^2$ \\n =1+1 | # <i>x %s {0}"
NO_PMASS: dict[str, Any] = {name: [] for name in ("pmass_eval", "pmass", "p_true", "gen_len_qa")}
NO_KL: dict[str, Any] = {"kl": [], "has_kl": 0}

SKIPPED: dict[str, Skipped] = {
    # Any file
    **{
        f"{file} is {name}": Skipped(content(file, what), file, "not JSON, or half written")
        for file in JSON_FILES
        for name, what in {
            "empty": b"",
            "blank": b" \n",
            "no JSON": b"Traceback (most recent call last):",
            "in UTF-16": "{}".encode("utf-16"),
            "full of zeros": bytes(4096),
            "two documents": b"{}{}",
        }.items()
    },
    **{f"{file} is half": Skipped(half(file), file, "half written: EOF") for file in JSON_FILES},
    **{f"{file} is null": Skipped(content(file, b"null"), file, "null") for file in JSON_FILES},
    **{
        f"{file} holds text": Skipped(content(file, b'"x"'), file, "the file must be .*, got 'x'")
        for file in JSON_FILES
    },
    **{
        f"{file} is a list": Skipped(content(file, []), file, "must be an object, got a list of 0")
        for file in JSON_FILES[:3]
    },
    **{
        f"{file} is a folder": Skipped(instead(file, Path.mkdir), file, "not a regular file")
        for file in (*JSON_FILES, DOSES)
    },
    **{
        f"{file} is a fifo": Skipped(instead(file, os.mkfifo), file, "not a regular file")
        for file in (CALIB, TRAJECTORY, DOSES)
    },
    "a file is a device": Skipped(
        instead(PMASS, lambda path: path.symlink_to("/dev/zero")), PMASS, "not a regular file"
    ),
    "a file links to itself": Skipped(
        instead(TRAJECTORY, lambda path: path.symlink_to(path)),
        TRAJECTORY,
        "cannot be read: Too many levels of symbolic links",
    ),
    "a file that may not be read": Skipped(
        lambda folder: (folder / PMASS).chmod(0),
        PMASS,
        "cannot be read: Permission denied",
        unprivileged=True,
    ),
    "nested too deep": Skipped(
        content(TRAJECTORY, b'{"per_prompt_per_t_kl":' + b"[" * 10**6),
        TRAJECTORY,
        "recursion limit exceeded at line 1 column 2",
    ),
    "nested too deep where nothing is read": Skipped(
        spelt(CALIB, "{", '{"x": ' + "[" * 300 + "]" * 300 + ","), CALIB, "recursion limit"
    ),
    "invalid UTF-8": Skipped(spelt(CALIB, "tiny", b"t\xffny"), CALIB, "unicode .*line 1 column"),
    "half a surrogate pair": Skipped(spelt(CALIB, "tiny", "\\ud800"), CALIB, "line 1 column"),
    "a control character in a string": Skipped(
        spelt(CALIB, "tiny", "t\x1b[31m"), CALIB, "control character"
    ),
    "the same key twice": Skipped(
        spelt(CALIB, "{", '{"c_star": 9, '), CALIB, 'uplicate key "c_star" at line 1'
    ),
    "the same key twice in two spellings": Skipped(
        spelt(CALIB, "{", '{"\\u0063_star": 9, '), CALIB, 'uplicate key "c_star"'
    ),
    "a long hostile key twice": Skipped(
        content(TRAJECTORY, b'{"' + 2 * (b"\\u001b[2J\\n" * 99 + b'": 1, "') + b'": 0}'),
        TRAJECTORY,
        r'uplicate key "\\u{1b}\[2J\\n.*\.\.\..* at line 1 column',
    ),
    # The calibration
    **{
        f"no {key}": Skipped(calib(key, None), CALIB, f"^{key} is missing")
        for key in ("c_star", "target_kl", "window", "method", "model", "seed", "layer")
    },
    **{
        f"{key} is {value!r}": Skipped(calib(key, value), CALIB, reason)
        for key, value, reason in (
            ("model", "", "model must be a non-empty string, got ''"),
            ("method", " \t", r"method must be a non-empty string, got ' \\t'"),
            ("method", 3, "method must be a non-empty string, got 3"),
            ("model", ["org/tiny"], "model must be a non-empty string, got a list of 1"),
            ("model", "a\nb", r"model must be one line of Unicode text, got 'a\\nb'"),
            ("method", "a\x1b[2Jb", r"method must be one line of Unicode text, got 'a\\x1b\[2Jb'"),
            ("model", "a\0b", r"model must be one line of Unicode text, got 'a\\x00b'"),
            ("method", "a\u2028b", r"method must be one line of Unicode text, got 'a\\u2028b'"),
            ("window", 0, "window must be between 1 and 2147483647, got 0"),
            ("window", -512, "window must be between 1 and .*, got -512"),
            ("window", 4.5, "window must be a whole number, got 4.5"),
            ("window", 4.0, "window must be a whole number, got 4.0"),
            ("window", "4", "window must be a whole number, got '4'"),
            ("window", True, "window must be a whole number, got true"),
            ("window", 10**12, "window must be between .*, got 1000000000000"),
            ("seed", "0", "seed must be a whole number, got '0'"),
            ("seed", 2**63, "seed must be between .*, got 9223372036854775808"),
            ("seed", -(2**63) - 1, "seed must be between .*, got -9223372036854775809"),
            ("target_stat", "max", "target_stat must be one of p95, rms, mean, got 'max'"),
            ("target_stat", ["p95"], "target_stat must be one of .*, got a list of 1"),
            ("measured_with", "torch", "measured_with must be an object, got 'torch'"),
            (
                "measured_with",
                {"temperature": "hot"},
                "measured_with.temperature must be a number, got 'hot'",
            ),
            ("sign", "-", "sign '-' contradicts c_star = 1.5"),
            ("layer", [3], "layer must be a whole number, got a list of 1"),
            ("c_star", NAN, "c_star must be a finite number, got nan"),
            ("c_star", float("inf"), "c_star must be a finite number, got inf"),
            ("c_star", "1.5", "c_star must be a number, got '1.5'"),
            ("target_kl", True, "target_kl must be a number, got true"),
        )
    },
    "c_star is null": Skipped(
        spelt(CALIB, "1.5", "null"), CALIB, "c_star must be a number, got null"
    ),
    "c_star is 1e400": Skipped(
        spelt(CALIB, "1.5", "1e400"), CALIB, "c_star must be a finite number, got inf"
    ),
    "a seed of 5,000 digits": Skipped(
        spelt(CALIB, '"seed": 0', '"seed": ' + "9" * 5000), CALIB, "number|digits"
    ),
    # KL
    **{
        f"KL with {name}": Skipped(row(text), TRAJECTORY, rf'\["1.0"\]\[0\]\[1\] must be {shown}')
        for name, text, shown in (
            ("a number as text", '[1, "2"]', "a number, got '2'"),
            ("Infinity", "[1, Infinity]", "a finite number, got inf"),
            ("-Infinity", "[1, -Infinity]", "a finite number, got -inf"),
            ("1e400", "[1, 1e400]", "a finite number, got inf"),
            ("true", "[1, true]", "a number, got true"),
            ("false", "[1, false]", "a number, got false"),
            ("a list", "[1, [2]]", "a number, got a list of 1"),
            ("an object", "[1, {}]", "a number, got an object"),
            ("an integer of 400 digits", f"[1, {10**399}]", "a finite number, got 1000.*"),
        )
    },
    **{
        f"KL with {name}": Skipped(row(text), TRAJECTORY, "not JSON.*line 1 column")
        for name, text in (
            ("a comma too many", "[1, 2,]"),
            ("a comment", "[1, /* two */ 2]"),
            ("a nan in small letters", "[1, nan]"),
            ("a hexadecimal number", "[0x1]"),
            ("a number without digits", "[1, .]"),
            ("a leading zero", "[01]"),
            ("a single quote", "['1']"),
        )
    },
    "a row that is a number": Skipped(
        row("7"), TRAJECTORY, r'\["1.0"\]\[0\] must be a list, got 7'
    ),
    "a row that is null": Skipped(row("null"), TRAJECTORY, r"\[0\] must be a list, got null"),
    "a row that is an object": Skipped(
        row("{}"), TRAJECTORY, r"\[0\] must be a list, got an object"
    ),
    "rows in an object": Skipped(
        entry(TRAJECTORY, KL, "1.0", value={"0": [1]}),
        TRAJECTORY,
        r'kl\["1.0"\] must be a list, got an object',
    ),
    "KL in a list": Skipped(
        entry(TRAJECTORY, KL, value=[]), TRAJECTORY, "kl must be an object, got a list of 0"
    ),
    "KL is null": Skipped(
        content(TRAJECTORY, f'{{"{KL}": null}}'), TRAJECTORY, "kl must be an object, got null"
    ),
    **{
        f"an alpha {text!r}": Skipped(
            alpha_key(text),
            TRAJECTORY,
            "a key of per_prompt_per_t_kl must be a finite number, got '.*'",
        )
        for text in (
            "one",
            "",
            " 1",
            "nan",
            "Infinity",
            "1e400",
            "0x1",
            "1_0",
            "1,5",
            "\N{ARABIC-INDIC DIGIT ONE}",
        )
    },
    "an alpha in two spellings": Skipped(
        entry(TRAJECTORY, KL, "1", value=[]), TRAJECTORY, r'\["1.0"\] and .*\["1"\] are the same'
    ),
    "an alpha one bit from another": Skipped(
        entry(TRAJECTORY, KL, value={"0.3": [], "0.30000000000000004": []}),
        TRAJECTORY,
        r'\["0.3"\] and .*\["0.30000000000000004"\] are the same alpha, 0.3',
    ),
    "an alpha -0 beside 0": Skipped(
        entry(TRAJECTORY, KL, value={"0": [], "-0.0": []}), TRAJECTORY, "are the same alpha, 0"
    ),
    "rows too uneven to pad": Skipped(
        uneven, TRAJECTORY, r'\["1.0"\] has 20000 values in rows so uneven .* 20001 x 20000'
    ),
    "alphas too uneven to pad": Skipped(
        uneven_alphas, "", "kl has 18000 values in rows so uneven .* 2 x 9000 x 9000"
    ),
    # pmass
    **{
        f"fork points that {name}": Skipped(
            entry(PMASS, "fork_points", value=forks), PMASS, f"fork_points ?{reason}"
        )
        for name, forks, reason in (
            ("fall", [2, 0], r"\[1\] must be greater than 2, got 0"),
            ("repeat", [2, 2], r"\[1\] must be greater than 2, got 2"),
            ("are negative", [-1, 2], r"\[0\] must be between 0 and 2147483647, got -1"),
            ("are not whole", [0, 2.5], r"\[1\] must be a whole number, got 2.5"),
            ("are text", ["0", "2"], r"\[0\] must be a whole number, got '0'"),
            ("are a number", 2, "must be a list, got 2"),
            ("are beyond int32", [0, 2**31], r"\[1\] must be between .*, got 2147483648"),
        )
    },
    "no fork points": Skipped(
        entry(PMASS, "fork_points", value=None), PMASS, r"\[0\] must have at most 0 values, got 2"
    ),
    "more pmass than forks": Skipped(
        entry(PMASS, "fork_points", value=[0]), PMASS, r"\[0\] must have at most 1 values, got 2"
    ),
    **{
        f"gen_len {name}": Skipped(
            entry(PMASS, "gen_lens_eval", "1.0", value=[4, value]),
            PMASS,
            rf'gen_lens_eval\["1.0"\]\[1\] must be {reason}',
        )
        for name, value, reason in (
            ("negative", -1, "between 0 and 2147483647, got -1"),
            ("not whole", 2.5, "a whole number, got 2.5"),
            ("text", "2", "a whole number, got '2'"),
            ("true", True, "a whole number, got true"),
            ("beyond int32", 2**31, "between 0 and 2147483647, got 2147483648"),
        )
    },
    **{
        f"completed alphas {name}": Skipped(
            entry(PMASS, "completed_alphas", value=value), PMASS, f"completed_alphas{reason}"
        )
        for name, value, reason in (
            ("in an object", {}, " must be a list, got an object"),
            ("that are numbers", ["0.5", 1], r"\[1\] must be a non-empty string, got 1"),
            ("that are words", ["one"], r"\[0\] must be a finite number, got 'one'"),
        )
    },
    **{
        f"repetition {name}": Skipped(
            entry(PMASS, "repetition_eval", value={"1.0": [0.5, value]}),
            PMASS,
            rf'repetition_eval\["1.0"\]\[1\] must be {reason}',
        )
        for name, value, reason in (
            ("as text", "0.5", "a number, got '0.5'"),
            ("infinite", float("inf"), "a finite number, got inf"),
            ("true", True, "a number, got true"),
        )
    },
    "lengths too many to place KL by": Skipped(
        many_lengths,
        "",
        "kl has 10000 values in rows so uneven that padding makes them 10000 x 10000",
    ),
    "computed as text": Skipped(
        entry(PMASS, "computed", value="false"),
        PMASS,
        "computed must be true or false, got 'false'",
    ),
    "pmass in a list": Skipped(
        entry(PMASS, "pmass_eval", value=[[0.5]]),
        PMASS,
        "pmass_eval must be an object, got a list of 1",
    ),
    "pmass infinite": Skipped(
        spelt(PMASS, "0.9", "Infinity"),
        PMASS,
        r'pmass_eval\["0.5"\]\[0\]\[0\] must be a finite number, got inf',
    ),
    # The bisection
    "the bisection in an object": Skipped(content(STEPS, {}), STEPS, "a list, got an object"),
    "a step that is a list": Skipped(
        content(STEPS, [[]]), STEPS, r"\[0\] must be an object, got a list of 0"
    ),
    "a step without p95": Skipped(
        entry(STEPS, 1, "kl_p95", value=None), STEPS, "kl_p95 is missing"
    ),
    "a step with true": Skipped(
        entry(STEPS, 1, "kl_max", value=True),
        STEPS,
        r'\[1\]\["kl_max"\] must be a number, got true',
    ),
    "a step with text": Skipped(
        entry(STEPS, 0, "coeff", value="1"), STEPS, r'\[0\]\["coeff"\] must be a number, got \'1\''
    ),
    # results.csv
    **{
        f"results.csv {name}": Skipped(content(DOSES, text), DOSES, reason)
        for name, text, reason in (
            ("is empty", b"", "line 1 has no column alpha"),
            ("has half a line", "alpha,coeff\n1.0,2.", "the last line has no line break"),
            ("has half a line end", "alpha,coeff\r\n1.0,2.5\r", "the last line has no line break"),
            ("has no alpha", "dose,coeff\n1.0,2.5\n", "line 1 has no column alpha"),
            ("has a column twice", "alpha,coeff,coeff\n1,2,3\n", "line 1 has a duplicate column"),
            ("has an alpha twice", "alpha,coeff\n1,2\n1.0,2\n", "line 3 repeats alpha 1"),
            ("has a dose twice", "alpha\n1.0000000001\n2\n1\n", "line 4 repeats alpha 1"),
            ("has a short line", "alpha,coeff\n1\n", "line 2 has more or fewer values"),
            ("has a long line", "alpha,coeff\n1,2,3\n", "line 2 has more or fewer values"),
            (
                "has text",
                "alpha,coeff\n1,two\n",
                "line 2, coeff must be a finite number, got 'two'",
            ),
            ("has inf", "alpha,coeff\n1,inf\n", "line 2, coeff must be a finite number, got 'inf'"),
            (
                "has 1e400",
                "alpha,coeff\n1,1e400\n",
                "line 2, coeff must be a finite number, got '1e400'",
            ),
            (
                "has no value for alpha",
                "alpha,coeff\n,2\n",
                "line 2, alpha must be a finite number, got ''",
            ),
            (
                "has an open quote",
                'alpha,coeff\n1,"2\n2,3\n',
                r"coeff must be a finite number, got '2\\n2,3\\n'",
            ),
            ("has a vast field", "alpha,coeff\n1," + "2" * 200_000 + "\n", "field larger than"),
            ("is not UTF-8", b"alpha,coeff\n1,\xff\n", "can't decode byte 0xff"),
            ("is full of zeros", bytes(99), "half written"),
            ("is binary", bytes(99) + b"\n", "line 1 has no column alpha"),
        )
    },
    # The folder
    "an empty folder": Skipped(emptied, CALIB, "missing"),
    "no calib.json": Skipped(lambda folder: (folder / CALIB).unlink(), CALIB, "missing"),
    "a link to itself": Skipped(looped, CALIB, "cannot be read: Too many levels of symbolic"),
    "a link to nowhere": Skipped(dangling, CALIB, "missing"),
    "a folder that may not be entered": Skipped(
        unreadable, CALIB, "cannot be read: Permission denied", unprivileged=True
    ),
    **{
        f"a folder called {name!r}": Skipped(
            renamed(name), "", "the folder's name must be one line of Unicode text, got '.*'"
        )
        for name in ("a\nb", "a\x1b[2Jb", "a\rb", b"a\xffb")
    },
    "a folder whose name is blank": Skipped(
        renamed(" "), "", "folder's name must be a non-empty string, got ' '"
    ),
}
"""By name, what is reported and left out."""

READ: dict[str, Read] = {
    **{
        f"a BOM before {file}": Read(
            spelt(file, "", BOM),
            "it says that the file is UTF-8, as it must be anyway",
        )
        for file in (*JSON_FILES, DOSES)
    },
    "a link out of the root": Read(moved_out, "it is the cell that the link's name says"),
    "a file that links out of the root": Read(
        file_moved_out,
        "its content counts",
    ),
    **{
        f"a folder called {name!r}": Read(renamed(name), "a name is a label, whatever is in it")
        for name in (ODD, "ünï 🌡️", "n" * 255, "-rf", "$(reboot)")
    },
    **{
        f"{key} is {value[:9]!r}": Read(calib(key, value), "as recorded", {key: value})
        for key, value in (
            ("method", ODD),
            ("method", "méthode 🌡️"),
        )
    },
    **{
        f"a model called {model[:12]!r}": Read(
            calib("model", model),
            "the last part that is not empty is its short name",
            {"model": model, "model_short": short},
        )
        for model, short in (
            (LONG, LONG),
            (ODD, ODD.rpartition("\\")[2]),
            ("org/", "org"),
            ("/models/tiny//", "tiny"),
            (r"C:\models\tiny", "tiny"),
            ("C:\\models/tiny\\ ", "tiny"),
            ("//", "//"),
        )
    },
    **{
        f"{key} is {value}": Read(calib(key, value), "as recorded", {key: value})
        for key, value in (
            ("target_kl", 10**6),
            ("seed", -1),
            ("seed", 2**40),
            ("seed", -(2**63)),
            ("window", 2**31 - 1),
            ("target_stat", "rms"),
        )
    },
    **{
        f"c_star is {value}": Read(
            calib("c_star", value),
            "as recorded, and not what the results were made with",
            {"c_star": value},
            notes=(
                rf"results.csv: coeff is 0.75 at alpha 0.5, but alpha x c_star is {value / 2:g}:",
                f"history.json: no step tried c_star = {value}: from a different run than calib",
            ),
        )
        for value in (-1.5, 0)
    },
    "a c_star of another run that was tried here as well": Read(
        calib("c_star", 1.0),
        "as recorded",
        {"c_star": 1.0},
        notes=("coeff is 0.75 at alpha 0.5, but alpha x c_star is 0.5: from a different run",),
    ),
    "a c_star that was rounded": Read(calib("c_star", 1.5001), "the same", {"c_star": 1.5001}),
    "a calibration newer than the results": Read(
        later(CALIB, 60),
        "a rerun that died, perhaps",
        {"calib_newer": 1},
        notes=("calib.json: newer than the results",),
    ),
    "a calibration as new as a copy makes it": Read(later(CALIB, 1), "files copied in any order"),
    "a calibration newer than the bisection": Read(later(DOSES, 60), "the results are later"),
    "what it was measured with": Read(
        calib("measured_with", {"torch": "2.13", "batch": [8, None], "été": NAN}),
        "JSON, as recorded",
        {"measured_with": r'{"torch": "2.13", "batch": [8, null], "\u00e9t\u00e9": NaN}'},
    ),
    "another meaning of sign": Read(calib("sign", -1), "a key of other programs"),
    "measured with null": Read(spelt(CALIB, "{", '{"measured_with": null, '), "not recorded"),
    "keys of other programs": Read(calib("git", {"sha": [None, True]}), "they are passed over"),
    "calib.json alone": Read(
        unswept,
        "calibrated and not yet swept",
        {
            **NO_KL,
            **NO_PMASS,
            "has_pmass": 0,
            "gen_len": [],
            **{name: [] for name in ("coeff", "kl_p95", "kl_mean", "kl_max")},
            **{name: [] for name in ("calib_coeff", "calib_kl_mean", "calib_kl_p95")},
            "calib_kl_max": [],
        },
    ),
    "calib.json alone, later than the others' results": Read(
        unswept_since,
        "there are no results that it could be newer than",
        {
            **NO_KL,
            **NO_PMASS,
            "has_pmass": 0,
            "gen_len": [],
            **{name: [] for name in ("coeff", "kl_p95", "kl_mean", "kl_max")},
            **{f"calib_{name}": [] for name in ("coeff", "kl_mean", "kl_p95", "kl_max")},
        },
    ),
    "an old trajectory.json": Read(
        stale,
        "there is no KL, and the report says why",
        NO_KL,
        notes=("stale, per_prompt_per_t_kl is missing",),
    ),
    "KL that ends in null": Read(
        row("[1, 2, null, null]"),
        "null and NaN are the end of a rollout",
        {"kl": [[[0.5, 0.25], [0.125]], [[1, 2], [5, 6]]]},
    ),
    "KL with a hole": Read(
        row("[1, NaN, null, 4]"),
        "a token that was not measured",
        {"kl": [[[0.5, 0.25], [0.125]], [[1, NAN, NAN, 4], [5, 6]]]},
    ),
    "KL longer than the window": Read(row("[1, 2, 3, 4, 5, 6]"), "a row is cut to the window", {}),
    "an empty row": Read(
        row("[]"), "nothing measured", {"kl": [[[0.5, 0.25], [0.125]], [[], [5, 6]]]}
    ),
    "no rows": Read(
        entry(TRAJECTORY, KL, "1.0", value=[]),
        "nothing measured at that alpha",
        {"kl": [[[0.5, 0.25], [0.125]], []]},
    ),
    "nothing but NaN": Read(
        content(TRAJECTORY, {KL: {"0.5": [[NAN] * 4] * 2, "1.0": [[NAN] * 4] * 2}}),
        "no KL",
        NO_KL,
    ),
    "tiny negative KL": Read(
        row("[-1.1920928955078125e-07, -0.0]"),
        "rounding, kept as it is",
        {"kl": [[[0.5, 0.25], [0.125]], [[-1.1920928955078125e-07, 0], [5, 6]]]},
    ),
    "KL that float32 rounds to 0": Read(
        row("[1e-60]"),
        "reported, and --dtype=float64 keeps it",
        {"kl": [[[0.5, 0.25], [0.125]], [[0], [5, 6]]]},
        notes=(
            r'does not hold per_prompt_per_t_kl\["1.0"\]\[0\]\[0\] = 1e-60.*dtype=float64 does',
        ),
    ),
    "a negative alpha": Read(
        alpha_key("-1e0"),
        "a dose of the opposite sign; the other files have no such dose",
        {
            "kl": [[[1, 2, 3, 4], [5, 6]], [[0.5, 0.25], [0.125]], []],
            "pmass_eval": [[], [[0.9, 0.8], [0.7, NAN]], [[0.6, 0.5], [0.4, 0.3]]],
            "pmass": [[], [], [[0.2, 0.1]]],
            "p_true": [[], [], [[0.15, 0.05]]],
            "gen_len": [[4, 2], [2, 1], [4, 2]],
            "gen_len_qa": [[], [], [4]],
            "coeff": [-1.5, 0.75, 1.5],
            "kl_p95": [5.75, 0.4, 5.9],
            "kl_mean": [3.5, 0.3, 3.5],
            "kl_max": [6.0, 0.5, 6.0],
        },
        alphas=(-1.0, 0.5, 1.0),
    ),
    "an alpha in another spelling": Read(alpha_key("10e-1"), "the label is the number"),
    "an alpha one bit from another file's": Read(
        alpha_key("1.0000000000000002"), "the same dose, in its shorter spelling"
    ),
    "more prompts in KL than in pmass": Read(
        entry(PMASS, "pmass_eval", value={"0.5": [[0.9, 0.8]], "1.0": [[0.6, 0.5]]}),
        "both are kept, and belong to no known prompt of each other",
        {"pmass_eval": [[[0.9, 0.8]], [[0.6, 0.5]]], "unpaired": [1, 1]},
        notes=(
            "pmass.json: KL and pmass cannot be paired at alpha 0.5, 1: 2 rows of KL, 1 of pmass",
        ),
    ),
    "more prompts in pmass than in KL": Read(
        entry(TRAJECTORY, KL, value={"0.5": [[0.5, 0.25], [0.125]], "1.0": [[1, 2, 3, 4]]}),
        "both are kept, and belong to no known prompt of each other",
        {"kl": [[[0.5, 0.25], [0.125]], [[1, 2, 3, 4]]], "unpaired": [0, 1]},
        notes=("cannot be paired at alpha 1: 1 rows of KL, 2 of pmass_eval",),
    ),
    "no row of KL for a rollout that generated nothing": Read(
        both(
            entry(TRAJECTORY, KL, "1.0", value=[[1, 2, 3, 4]]),
            entry(PMASS, "gen_lens_eval", "1.0", value=[0, 4]),
            entry(PMASS, "pmass_eval", "1.0", value=[[0.6], [0.4, 0.3]]),
        ),
        "the rows of KL belong to the others",
        {
            "kl": [[[0.5, 0.25], [0.125]], [[], [1, 2, 3, 4]]],
            "gen_len": [[2, 1], [0, 4]],
            "pmass_eval": [[[0.9, 0.8], [0.7, NAN]], [[0.6], [0.4, 0.3]]],
        },
    ),
    "fewer rows of KL than rollouts that generated something": Read(
        both(
            entry(TRAJECTORY, KL, "1.0", value=[[1, 2, 3, 4]]),
            entry(PMASS, "gen_lens_eval", "1.0", value=[0, 4, 2]),
            entry(PMASS, "pmass_eval", "1.0", value=[[0.6], [0.4, 0.3], [0.2]]),
        ),
        "it is not known to which they belong",
        {
            "kl": [[[0.5, 0.25], [0.125]], [[1, 2, 3, 4]]],
            "gen_len": [[2, 1], [0, 4, 2]],
            "pmass_eval": [[[0.9, 0.8], [0.7, NAN]], [[0.6], [0.4, 0.3], [0.2]]],
            "unpaired": [0, 1],
        },
        notes=("cannot be paired at alpha 1: 1 rows of KL, 3 of pmass_eval",),
    ),
    "pmass.json without trajectory.json": Read(
        lambda folder: (folder / TRAJECTORY).unlink(),
        "there is no KL",
        NO_KL,
        notes=("pmass.json: trajectory.json is missing, so the cell has no KL",),
    ),
    "completed alphas": Read(
        entry(PMASS, "completed_alphas", value=["1", "0.50"]), "all of them, in other spellings"
    ),
    "an alpha that was not completed": Read(
        entry(PMASS, "completed_alphas", value=["0.5"]),
        "what there is of it is kept",
        notes=("pmass.json: alpha 1 is unfinished according to completed_alphas",),
    ),
    "a dose that was being written": Read(
        both(
            entry(TRAJECTORY, KL, "2.0", value=[[1, 2], [3]]),
            content(DOSES, f"{RESULTS}2.0,3.0,2.9,2.0,3.0\r\n"),
            entry(PMASS, "completed_alphas", value=["0.5", "1.0"]),
        ),
        "what there is of it is read: pmass.json, the last to be written, has it not yet",
        {
            "kl": [[[0.5, 0.25], [0.125]], [[1, 2, 3, 4], [5, 6]], [[1, 2], [3]]],
            "gen_len": [[2, 1], [4, 2], [2, 1]],
            "coeff": [0.75, 1.5, 3.0],
            "kl_p95": [0.4, 5.9, 2.9],
            "kl_mean": [0.3, 3.5, 2.0],
            "kl_max": [0.5, 6.0, 3.0],
        },
        alphas=(0.5, 1.0, 2.0),
    ),
    "no alpha that was completed": Read(
        entry(PMASS, "completed_alphas", value=[]),
        "what there is of them is kept",
        notes=("pmass.json: alpha 0.5, 1 is unfinished according to completed_alphas",),
    ),
    "repetition": Read(
        entry(PMASS, "repetition_eval", value={"1.0": [0.25, NAN]}),
        "as recorded",
        {"repetition": [[], [0.25]]},
    ),
    "repetition that float32 rounds to 0": Read(
        entry(PMASS, "repetition_eval", value={"0.5": [1e-60]}),
        "reported",
        {"repetition": [[0], []]},
        notes=(r'does not hold repetition_eval\["0.5"\]\[0\] = 1e-60 to within 1e-06 .one of 1.$',),
    ),
    "a fork beyond the window": Read(
        entry(PMASS, "fork_points", value=[0, 99]), "as recorded", forks=(0, 99)
    ),
    "pmass shorter than the forks": Read(
        entry(PMASS, "pmass_eval", "1.0", value=[[0.6], []]),
        "missing at the forks after it",
        {"pmass_eval": [[[0.9, 0.8], [0.7, NAN]], [[0.6], []]]},
    ),
    "pmass above 1": Read(
        spelt(PMASS, "0.9", "1.5"),
        "as recorded; isoklx verify reports it",
        {"pmass_eval": [[[1.5, 0.8], [0.7, NAN]], [[0.6, 0.5], [0.4, 0.3]]]},
    ),
    "pmass not computed": Read(
        entry(PMASS, "computed", value=False),
        "whatever stands there is no pmass",
        {**NO_PMASS, "has_pmass": 0},
        forks=(),
    ),
    "questions skipped": Read(
        entry(PMASS, "pmass", value={"0.5": [], "1.0": []}),
        "no pmass at questions",
        {"pmass": []},
    ),
    "gen_len above the window": Read(
        entry(PMASS, "gen_lens_eval", "1.0", value=[9, 2]),
        "as recorded; isoklx verify reports it",
        {"gen_len": [[2, 1], [9, 2]]},
    ),
    "gen_len missing": Read(
        spelt(PMASS, '"1.0": [4, 2]', '"1.0": [null]'), "counted to the last finite KL"
    ),
    "gen_len of more prompts": Read(
        entry(PMASS, "gen_lens_eval", "1.0", value=[4, 2, 3]),
        "a prompt without KL and pmass",
        {"gen_len": [[2, 1], [4, 2, 3]]},
    ),
    **{
        f"a step with {text}": Read(
            spelt(STEPS, "3.0", text),
            "that number is missing, and nothing else",
            {"calib_kl_max": [2.0, NAN]},
            notes=(rf'history.json: \[1\]\["kl_max"\] is {shown}, read as missing$',),
        )
        for text, shown in (
            ("NaN", "nan"),
            ("-Infinity", "-inf"),
            ("1e400", "inf"),
            ("null", "null"),
        )
    },
    "steps without a number": Read(
        content(STEPS, [{**HISTORY[0], "kl_p95": NAN, "coeff": NAN}, HISTORY[1]]),
        "missing",
        {"calib_coeff": [NAN, 1.5], "calib_kl_p95": [NAN, 1.0]},
        notes=(r'\[0\]\["coeff"\] is nan, read as missing \(one of 2\)$',),
    ),
    "an empty bisection": Read(
        content(STEPS, []),
        "no step was recorded",
        {f"calib_{name}": [] for name in ("coeff", "kl_mean", "kl_p95", "kl_max")},
    ),
    "a dose that is nan": Read(
        spelt(DOSES, "5.9", "nan"), "computed from KL", {"kl_p95": [0.4, 5.75]}
    ),
    "doses without summaries": Read(
        content(DOSES, "alpha\n0.5\n"),
        "computed from KL",
        {"kl_mean": [0.875 / 3, 3.5], "kl_max": [0.5, 6.0], "kl_p95": [0.475, 5.75]},
    ),
    "blank lines among the doses": Read(
        content(DOSES, RESULTS.replace("\r\n", "\n\n").encode()), "they are passed over"
    ),
    "doses cut at the end of a line": Read(
        content(DOSES, RESULTS[: RESULTS.rindex("1.0,")]),
        "what was not recorded is computed",
        {"kl_p95": [0.4, 5.75]},
    ),
    "one step of the bisection": Read(
        content(STEPS, HISTORY[:1]),
        "as recorded",
        {
            "calib_coeff": [1.0],
            "calib_kl_mean": [0.5],
            "calib_kl_p95": [0.9],
            "calib_kl_max": [2.0],
        },
        notes=("no step tried c_star = 1.5",),
    ),
}
"""By name, what is read, and what it means."""
