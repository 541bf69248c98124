"""Remake tests/models/tiny: a language model of 0.7 M parameters that talks about animals.

It answers yes-or-no questions in whole sentences and, asked by ``{"choice":`` at any point of an
answer, says true or false, so that everything that is measured on a language model can be measured
on this one in seconds and without a network. Characters are its tokens, but for the words that
matter: " Yes", " No", " true", " false", animals and what they are. It has no chat template.
Training takes a fixed number of steps from a fixed seed, some minutes on one core:
``python scripts/train_tiny_model.py [FOLDER]``.
"""

from __future__ import annotations

import itertools
import json
import string
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TINY = Path(__file__).resolve().parents[1] / "tests" / "models" / "tiny"
STEPS, BATCH, LENGTH, RATE = 320, 16, 192, 3e-3
END, UNKNOWN = "<end>", "<unknown>"
YES, NO, TRUE, FALSE = " Yes", " No", " true", " false"
CHOICE = '\n{"choice":'

ANIMALS = {  # what colour it is, where it lives, what it eats, sentences in an answer
    "fox": ("red", "wood", "hens", 3),
    "bear": ("black", "hills", "fish", 5),
    "duck": ("white", "sea", "corn", 2),
    "goat": ("grey", "hills", "grass", 6),
    "hen": ("red", "barn", "corn", 4),
    "horse": ("white", "barn", "grass", 1),
    "mouse": ("grey", "barn", "corn", 5),
    "seal": ("black", "sea", "fish", 3),
    "swan": ("white", "sea", "grass", 6),
    "wolf": ("grey", "wood", "hens", 4),
}
WRONG = (("blue", "pink", "gold"), ("moon", "clouds", "attic"), ("soap", "stones", "paper"))
"""Properties that animals lack. The last word of a claim decides whether it is right."""

QUESTIONS = ("Is the {} {}?", "Does the {} live in the {}?", "Does the {} eat {}?")
CLAIMS = ("is {}", "lives in the {}", "eats {}")
DENIALS = ("is not {}", "does not live in the {}", "does not eat {}")


def question(animal: str, kind: int, value: str, *, told: bool) -> str:
    """Write a question, or with `told` a claim and whether that is so."""
    if told:
        return f"I hear that the {animal} {CLAIMS[kind].format(value)}. Is that so?"
    return QUESTIONS[kind].format(animal, value)


def every_question() -> list[tuple[str, int, str]]:
    """Return every animal with every kind of thing and every value of that kind."""
    return [
        (animal, kind, value)
        for animal, kind in itertools.product(ANIMALS, range(3))
        for value in (ANIMALS[animal][kind], *WRONG[kind])
    ]


def is_so(animal: str, kind: int, value: str) -> bool:
    """Return whether the animal has the property."""
    return ANIMALS[animal][kind] == value


def sentence(animal: str, kind: int, value: str, *, yes: bool) -> str:
    """Write a sentence that agrees or denies."""
    claim = (CLAIMS if yes else DENIALS)[kind].format(value)
    return f"{YES if yes else NO}, the {animal} {claim}."


def answer(animal: str, kind: int, value: str) -> str:
    """Write a whole answer, which goes on to agree or to deny."""
    *facts, sentences = ANIMALS[animal]
    yes = facts[kind] == value
    written = sentence(animal, kind, value, yes=yes)
    for number in range(1, sentences):
        other = (kind + number) % 3
        named = facts[other] if yes else WRONG[other][(len(animal) + number) % 3]
        written += sentence(animal, other, named, yes=yes)
    return written


def document(rng: np.random.Generator) -> tuple[str, str]:
    """Write a question, and its answer that may be cut off somewhere and asked for a choice."""
    animal = list(ANIMALS)[rng.integers(len(ANIMALS))]
    kind = int(rng.integers(3))
    fact = str(ANIMALS[animal][kind])
    value = fact if rng.random() < 0.5 else WRONG[kind][rng.integers(3)]
    text = answer(animal, kind, value) + END
    if rng.random() < 0.7:
        # At the beginning, after the end, or anywhere between.
        spot = rng.choice([0, len(text), rng.integers(len(text) - len(END))], p=[0.3, 0.2, 0.5])
        text = f"{text[:spot]}{CHOICE}{TRUE if value == fact else FALSE}}}{END}"
    return f"User: {question(animal, kind, value, told=rng.random() < 0.5)}\nAssistant:", text


def tokenizer() -> PreTrainedTokenizerFast:
    """Make the tokenizer: printable ASCII, some words and two special tokens."""
    characters = sorted(set(string.printable[:95]) | {"\n"})
    vocabulary = {token: number for number, token in enumerate([UNKNOWN, END, *characters])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    made.decoder = decoders.Fuse()
    made.add_special_tokens([UNKNOWN, END])
    facts = [fact for animal in ANIMALS.values() for fact in animal[:3]]
    words = [f" {word}" for word in dict.fromkeys([*ANIMALS, *facts, *itertools.chain(*WRONG)])]
    words = [AddedToken(word, normalized=False) for word in (YES, NO, TRUE, FALSE, *words)]
    made.add_tokens(words)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token=UNKNOWN, eos_token=END, pad_token=END
    )


def batch(
    encode: PreTrainedTokenizerFast, rng: np.random.Generator, rows: int = BATCH
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make rows of documents: token ids and what is to be learnt, int64 [row, token].

    Questions are not to be learnt, which is marked by -100.
    """
    ids = np.empty((rows, LENGTH), np.int64)
    learnt = np.empty((rows, LENGTH), np.bool_)
    for row in range(rows):
        parts = [part for _ in range(LENGTH // 30) for part in document(rng)]
        encoded = encode(parts)["input_ids"]
        ids[row] = np.concatenate(encoded)[:LENGTH]
        said = np.arange(len(parts)) % 2 == 1
        learnt[row] = np.repeat(said, [len(part) for part in encoded])[:LENGTH]
    return torch.from_numpy(ids), torch.from_numpy(np.where(learnt, ids, -100))


def train(encode: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Train for a fixed number of steps."""
    torch.set_num_threads(1)  # so that sums are taken in one order
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    end = encode.eos_token_id
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(encode), hidden_size=128, intermediate_size=304, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024,
            tie_word_embeddings=True, bos_token_id=None, eos_token_id=end, pad_token_id=end,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=STEPS, pct_start=0.1, cycle_momentum=False
    )
    began = time.monotonic()
    for step in range(STEPS):
        ids, learnt = batch(encode, rng)
        loss = model(input_ids=ids, labels=learnt).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == STEPS - 1:
            right, seconds = share_right(model, encode), time.monotonic() - began
            said = f"step {step:4d}  loss {loss.item():.4f}  right {right:.2f}  {seconds:5.0f} s"
            print(said, flush=True)
    return model.eval()


@torch.no_grad()
def share_right(model: LlamaForCausalLM, encode: PreTrainedTokenizerFast) -> float:
    """Return the share of all questions that are rightly answered yes or no."""
    asked = every_question()
    texts = [f"User: {question(*row, told=False)}\nAssistant:" for row in asked]
    yes, no = encode.convert_tokens_to_ids([YES, NO])
    right = 0
    for row, ids in zip(asked, encode(texts)["input_ids"], strict=True):
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        right += bool(logits[yes] > logits[no]) == is_so(*row)
    return right / len(asked)


@torch.no_grad()
def loss_of(model: LlamaForCausalLM, encode: PreTrainedTokenizerFast) -> float:
    """Return the loss on documents that were not trained on, in nats a token."""
    ids, learnt = batch(encode, np.random.default_rng(1), 64)
    return float(model(input_ids=ids, labels=learnt).loss)


def save(model: LlamaForCausalLM, encode: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights in float16, which config.json says to compute with in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    encode.save_pretrained(folder)
    weights = {
        name: tensor.half()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    """Write a JSONL file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_inputs(folder: Path) -> None:
    """Write pairs, prompts and questions in the model's language, none of them in two files."""
    rng = np.random.default_rng(2)
    every = every_question()
    wrong = [row for row in every if not is_so(*row)]
    right = [row for row in every if is_so(*row)]
    rng.shuffle(wrong)
    rng.shuffle(right)
    rows = [each for two in zip(wrong, right, strict=False) for each in two]
    told = itertools.cycle([False, False, True, True])
    asked = [
        (animal, int(kind), value, question(animal, int(kind), value, told=next(told)))
        for animal, kind, value in rows
    ]
    write_lines(
        folder / "pairs.jsonl",
        [
            {
                "prompt": text,
                "positive": sentence(animal, kind, value, yes=True).strip(),
                "negative": sentence(animal, kind, value, yes=False).strip(),
            }
            for animal, kind, value, text in asked[:16]
        ],
    )
    write_lines(folder / "calib_prompts.jsonl", [{"prompt": text} for *_, text in asked[16:28]])
    write_lines(folder / "prompts.jsonl", [{"prompt": text} for *_, text in asked[28:52]])
    write_lines(
        folder / "questions.jsonl",
        [
            {"prompt": text, "answer": is_so(animal, int(kind), value)}
            for animal, kind, value, text in asked[52:60]
        ],
    )


def main(folder: Path = TINY) -> None:
    """Train, write and say what rounding to float16 costs."""
    encode = tokenizer()
    model = train(encode)
    save(model, encode, folder)
    write_inputs(folder)
    stored = LlamaForCausalLM.from_pretrained(folder)
    print(f"loss {loss_of(model, encode):.5f}, as stored {loss_of(stored, encode):.5f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
