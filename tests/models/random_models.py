"""Small models of many architectures with random weights: what they say is noise, fast."""

from __future__ import annotations

import functools
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers as hf

VOCABULARY = 97
HIDDEN = 32

_COMMON = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LLAMA = {
    **_COMMON,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"] * 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
}
_GPT = {**_COMMON, "n_embd": HIDDEN, "n_layer": 4, "n_head": 4, "n_positions": 512}

CONFIGS = {
    "llama": lambda: hf.LlamaConfig(**_LLAMA),
    "gpt2": lambda: hf.GPT2Config(**_GPT),
    "gemma3": lambda: hf.Gemma3TextConfig(
        **_LLAMA,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention"] * 2,
        query_pre_attn_scalar=8,
    ),
    "qwen3_5": lambda: hf.Qwen3_5TextConfig(**_LLAMA, **_LINEAR),
    "qwen3_next": lambda: hf.Qwen3NextConfig(
        **_LLAMA,
        **_LINEAR,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        shared_expert_intermediate_size=24,
    ),
    "mamba": lambda: hf.MambaConfig(
        **_COMMON, hidden_size=HIDDEN, num_hidden_layers=4, state_size=8, conv_kernel=4
    ),
    "mixtral": lambda: hf.MixtralConfig(**_LLAMA, num_local_experts=4, num_experts_per_tok=2),
    "bloom": lambda: hf.BloomConfig(**_COMMON, hidden_size=HIDDEN, n_layer=4, n_head=4),
    "falcon": lambda: hf.FalconConfig(
        **_COMMON, hidden_size=HIDDEN, num_hidden_layers=4, num_attention_heads=4
    ),
    "gpt_neox": lambda: hf.GPTNeoXConfig(
        **_COMMON,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=512,
    ),
    "lfm2": lambda: hf.Lfm2Config(
        **_LLAMA, layer_types=["conv", "full_attention"] * 2, conv_L_cache=3
    ),
}

UNSTEERABLE = {
    "Gemma3nTextConfig": {**_LLAMA, "vocab_size_per_layer_input": VOCABULARY,
                          "hidden_size_per_layer_input": 8, "laurel_rank": 4,
                          "num_kv_shared_layers": 0, "activation_sparsity_pattern": [0.0] * 4,
                          "layer_types": ["sliding_attention", "full_attention"] * 2},
    "DeepseekV4Config": _LLAMA,
    "DoryConfig": _LLAMA,
    "CpmAntConfig": _LLAMA,
    "OpenAIGPTConfig": {**_COMMON, "n_embd": HIDDEN, "n_layer": 4, "n_head": 4},
}  # fmt: skip
"""Names and arguments of configurations whose blocks do not put out [row, token, hidden] once."""


@functools.cache
def random_model(name: str) -> hf.PreTrainedModel:
    """A model of that architecture, in float32 on the CPU, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = hf.AutoModelForCausalLM.from_config(CONFIGS[name]())
    # Weights as they are initialised say nearly the same whatever they read. Those of Mamba would
    # magnify rounding a hundredfold at three times of them; the gates of LFM2 are a product of
    # three small numbers.
    scale = {"mamba": 2.0, "lfm2": 8.0}.get(name, 3.0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(8)
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(scale)
    return model.eval()


def random_prompt(length: int, seed: int = 0) -> list[int]:
    """Token ids without special ones."""
    return np.random.default_rng(seed).integers(3, VOCABULARY, length).tolist()


def hooks_of(model: torch.nn.Module) -> list[list[object]]:
    """What hangs on a model; transformers leaves some itself, where hidden states are asked for."""
    return [list(module._forward_hooks.values()) for module in model.modules()]
