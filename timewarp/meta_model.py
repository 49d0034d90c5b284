"""vLLM's own model class without its weights: on torch's meta device, as one of several ranks."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servecast.timewarp.foreign import foreign


@dataclass(frozen=True, slots=True)
class MetaModel:
    """What one rank of a model weighs, and what its layers keep for each request."""

    parameters: int
    parameter_bytes: int
    specs: Mapping[str, Any]
    """vLLM's own `KVCacheSpec` of each layer that caches anything, by the layer's name."""

    @property
    def kinds(self) -> Counter[str]:
        """How many layers have which kind of cache, by the name of vLLM's class."""
        return Counter(type(spec).__name__ for spec in self.specs.values())


def build_meta_model(config: Any) -> MetaModel:
    """The model of vLLM's own configuration, built in its own class.

    The blocks of `config` are aligned as vLLM aligns them, which hybrids need. Raises whatever the
    class raises where it cannot be built without a device.
    """
    torch = foreign("torch")
    loading = foreign("vllm.model_executor.model_loader.utils")
    dtypes = foreign("vllm.utils.torch_utils")
    with _one_rank(config):
        with dtypes.set_default_torch_dtype(config.model_config.dtype), torch.device("meta"):
            model = loading.initialize_model(config)
        foreign("vllm.platforms").current_platform.update_block_size_for_backend(config)
        weights = list(model.parameters())
        return MetaModel(
            sum(each.numel() for each in weights),
            sum(each.numel() * each.element_size() for each in weights),
            _specs(config),
        )


def _specs(config: Any) -> dict[str, Any]:
    """What vLLM's model runner would answer, layer by layer."""
    base = foreign("vllm.model_executor.layers.attention_layer_base").AttentionLayerBase
    interface = foreign("vllm.v1.kv_cache_interface")
    found: dict[str, Any] = {}
    for name, layer in foreign("vllm.config").get_layers_from_vllm_config(config, base).items():
        if getattr(layer, "kv_sharing_target_layer_name", None):
            continue  # it reads another layer's
        spec = layer.get_kv_cache_spec(config)
        if isinstance(spec, interface.AttentionSpec):
            spec = layer.get_attn_backend().customize_spec(spec)
        if spec is not None:
            found[name] = spec
    return found


@contextmanager
def _one_rank(config: Any) -> Generator[None]:
    """vLLM's process groups with this process alone in them, cutting layers as rank 0 of many."""
    groups = foreign("vllm.distributed.parallel_state")
    with (
        tempfile.TemporaryDirectory(prefix="servecast-") as folder,
        foreign("vllm.config").set_current_vllm_config(config),
    ):
        store = Path(folder, "store").as_uri()
        groups.init_distributed_environment(1, 0, store, 0, "gloo")
        try:
            groups.initialize_model_parallel()
            groups.get_tp_group().world_size = config.parallel_config.tensor_parallel_size
            yield
        finally:
            groups.destroy_model_parallel()
            groups.destroy_distributed_environment()
