"""What the layers of an emulated engine's model keep: vLLM's own answer, or a stand-in for it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.timewarp.foreign import foreign
from servecast.timewarp.meta_model import build_meta_model
from servecast.timewarp.meta_model_config import meta_model_config

_STAND_IN = "stand_in_for"
"""A key of our own in the stand-in's config.json: the model that it stands for."""


@dataclass(frozen=True, slots=True)
class ModelCache:
    """KV caches by layer, and whose they are."""

    specs: Mapping[str, Any]
    """vLLM's `KVCacheSpec` of each layer."""
    stand_in: str | None
    """Why these are not the model's own; None where they are."""

    @property
    def bytes_per_block(self) -> int:
        """Enough for a block of every layer on its own."""
        return sum(spec.page_size_bytes for spec in self.specs.values())

    def require(self, deployment: Deployment) -> None:
        """UnsupportedError where plain attention stands in for a cache whose size it cannot have.

        Where no config.json is known either, blocks were counted for plain attention.
        """
        is_known = meta_model_config(deployment.model, deployment.max_model_len) is not None
        is_plain = ledger(deployment).geometry.is_uniform
        if self.stand_in is not None and is_known and not is_plain:
            raise UnsupportedError(
                f"the KV cache of {deployment.model.name} is not emulated here: {self.stand_in}",
                hint="simulate it",
            )

    def __str__(self) -> str:
        if self.stand_in is not None:
            return f"KV cache: plain attention stands in ({self.stand_in})"
        kinds = [type(spec).__name__.removesuffix("Spec") for spec in self.specs.values()]
        shown = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"KV cache: as vLLM's own class has it ({shown})"


def model_keys(deployment: Deployment) -> dict[str, object]:
    """The `config.json` for the deployment's model, or for a stand-in of its length."""
    model, length = deployment.model, deployment.max_model_len
    return meta_model_config(model, length) or {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 4096,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "num_hidden_layers": 64,
        "vocab_size": 65536,
        "max_position_embeddings": length,
        "torch_dtype": "bfloat16",
        _STAND_IN: model.name,
    }


def model_cache(config: Any) -> ModelCache:
    """The caches for vLLM's own configuration: its class's where that can be built here."""
    stood_for = getattr(config.model_config.hf_config, _STAND_IN, None)
    if stood_for is not None:
        return ModelCache(_plain(config), f"no config.json is known of {stood_for}")
    try:
        with _unquantized(config):
            return ModelCache(build_meta_model(config).specs, None)
    except Exception as error:  # a class may ask for anything that a GPU has
        (architecture,) = config.model_config.hf_config.architectures
        return ModelCache(_plain(config), f"{architecture} cannot be built here: {error}")


def _plain(config: Any) -> dict[str, Any]:
    """One layer of plain attention: blocks of it are taken as those of all equal layers are."""
    spec = foreign("vllm.v1.kv_cache_interface").FullAttentionSpec(
        block_size=config.cache_config.block_size,
        num_kv_heads=1,
        head_size=64,
        dtype=foreign("torch").bfloat16,
    )
    return {"attention": spec}


@contextmanager
def _unquantized(config: Any) -> Generator[None]:
    """The format of the weights, which needs kernels of the device, does not matter to caches."""
    known, config.quant_config = config.quant_config, None
    try:
        yield
    finally:
        config.quant_config = known
