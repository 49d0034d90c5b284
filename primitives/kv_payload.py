"""What of a request's KV cache crosses from the replica that prefills to the one that decodes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, KvGroup, kv_cache_geometry
from servecast.primitives.sharding import Sharding, cdiv


@dataclass(frozen=True, slots=True)
class KvPayload:
    """One request's cache on its way, from all ranks that hold it to all that will."""

    sender_bytes: int
    """Of the rank that sends most."""
    receiver_bytes: int
    """Of the rank that receives most."""
    sender_ranks: int
    receiver_ranks: int
    layers: int
    """Layers with a cache in a sender's fullest stage: what can be sent one by one."""
    stages: int = 1
    """Pipeline stages of the sender, which send side by side."""

    @property
    def received_bytes(self) -> int:
        """All that arrives, copies included, with every rank as full as the fullest."""
        return self.receiver_bytes * self.receiver_ranks


def kv_payload(prefill: Deployment, decode: Deployment, tokens: int) -> KvPayload:
    """What crosses for a prompt of `tokens`; InputError where the two caches differ in kind.

    The engines' rules: whole blocks of the receiver; each of its tensor-parallel ranks fetches what
    it will hold, so KV heads scarcer than ranks, and MLA's latents, cross once for each of them.
    Senders share that out. Data-parallel ranks do not see each other's requests.
    """
    _require_alike(prefill, decode)
    sender, receiver = Sharding.of(prefill), Sharding.of(decode)
    unstaged = replace(receiver, pipeline_parallel_size=1)
    received = held_bytes(_geometry(decode, unstaged), tokens) * receiver.tensor_parallel_size
    cached = sum(group.count for group in prefill.model.layers if group.mixer is not None)
    layers = max(1, sender.stage_layers(cached))
    share = cdiv(received, sender.tensor_parallel_size)
    return KvPayload(
        sender_bytes=cdiv(share * layers, max(1, cached)),
        receiver_bytes=held_bytes(_geometry(decode, receiver), tokens),
        sender_ranks=sender.tensor_parallel_size * sender.pipeline_parallel_size,
        receiver_ranks=receiver.tensor_parallel_size * receiver.pipeline_parallel_size,
        layers=layers,
        stages=sender.pipeline_parallel_size,
    )


def held_bytes(geometry: KvCacheGeometry, tokens: int) -> int:
    """Bytes that one rank keeps of a finished prompt: no padding of groups, no block in flight."""
    largest = max((group.layers for group in geometry.groups), default=1)
    page = geometry.bytes_per_block // largest
    return sum(_held_blocks(group, tokens) * group.layers * page for group in geometry.groups)


def _held_blocks(group: KvGroup, tokens: int) -> int:
    """Without what an engine sets aside for more: a window is never more than the prompt."""
    return min(group.blocks(tokens, 0), cdiv(tokens, group.block_tokens))


def _geometry(deployment: Deployment, sharding: Sharding) -> KvCacheGeometry:
    return kv_cache_geometry(
        deployment.model, sharding, deployment.kv_cache_dtype, block_size=deployment.block_size
    )


def _require_alike(prefill: Deployment, decode: Deployment) -> None:
    """The checkpoint may differ, as one quantized for its own pool does; the cache may not."""
    if prefill.model.layers != decode.model.layers:
        raise InputError(
            f"a KV cache of {prefill.model.name} is of no use to {decode.model.name}",
            hint="give both pools the same model",
        )
    if prefill.kv_cache_dtype is not decode.kv_cache_dtype:
        raise InputError(
            f"a KV cache in {prefill.kv_cache_dtype.value} cannot be read as"
            f" {decode.kv_cache_dtype.value}",
            hint="give both pools the same kv_cache_dtype",
        )
