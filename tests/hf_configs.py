"""What tests of `config.json` share: a plain Llama, a writer, and when two models are equal."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from servecast.primitives.model import ModelSpec

Keys = dict[str, object]

LLAMA: Keys = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


def write(folder: Path, keys: Keys | str) -> Path:
    file = folder / "config.json"
    file.write_text(keys if isinstance(keys, str) else json.dumps(keys), encoding="utf-8")
    return file


def changed(keys: Keys, **changes: object) -> Keys:
    """The keys with some replaced; None takes a key away."""
    return {key: value for key, value in (keys | changes).items() if value is not None}


def layer_counts(spec: ModelSpec) -> Counter[tuple[object, object]]:
    counts: Counter[tuple[object, object]] = Counter()
    for group in spec.layers:
        counts[group.mixer, group.ffn] += group.count
    return counts


def assert_same_model(read: ModelSpec, known: ModelSpec) -> None:
    """Equal in everything but name and source."""
    assert layer_counts(read) == layer_counts(known)
    for field in (
        "architecture", "hidden", "vocab", "tie_embeddings", "max_model_len", "weights_dtype",
        "mtp_layers",
    ):  # fmt: skip
        assert getattr(read, field) == getattr(known, field), field
