"""A random model as a GGUF file, as llama.cpp and its converters write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType
from transformers import PreTrainedModel
from transformers.convert_slow_tokenizer import bytes_to_unicode

TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Of a block of Llama: its name in transformers, and in GGUF."""

WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(model: PreTrainedModel, path: Path) -> None:
    """Write a Llama in float32, with a tokenizer of bytes."""
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _write_tokenizer(writer, config.vocab_size)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in heads:
            values = _rotated_in_pairs(values, heads[module.rpartition(".")[2]])
        writer.add_tensor(_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name: str) -> str:
    if name in WHOLE:
        return WHOLE[name]
    _, _, block, module = name.removesuffix(".weight").split(".", maxsplit=3)
    return f"blk.{block}.{TENSORS[module]}.weight"


def _rotated_in_pairs(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order in which GGUF rotates them: neighbours, and not halves of a head."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, values.shape[1])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _write_tokenizer(writer: GGUFWriter, size: int) -> None:
    special = ["<pad>", "<s>", "</s>"]
    # Two merges: some versions of transformers cannot read one.
    characters = list(bytes_to_unicode().values())[: size - len(special) - 2]
    merges = [(characters[0], characters[1]), (characters[2], characters[3])]
    tokens = [*characters, *(left + right for left, right in merges)]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*special, *tokens])
    writer.add_token_types([TokenType.CONTROL] * len(special) + [TokenType.NORMAL] * len(tokens))
    writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
