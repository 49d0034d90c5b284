"""How a request gets from the replica that computes its prompt to the one that says the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import Deployment
from servecast.primitives.kv_payload import kv_payload
from servecast.primitives.kv_transfer import shorter_s, wire_s
from servecast.primitives.network import MOONCAKE, Adapters, Network
from servecast.primitives.sharding import cdiv

LinkName = Literal["network", "scale_up"]
"""One network adapter for each accelerator, or the link inside a node."""
FirstToken = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What carries KV caches between the pools of a fleet, and which requests need it."""

    link: LinkName = "network"
    bw_bytes_per_s: float | None = None
    """Of the way of each accelerator, as it is reached; None: the link's, at Mooncake's share."""
    latency_s: float | None = None
    """For each request, before its first byte; None: Mooncake's."""
    by_layer: bool = False
    """Whether layers are sent as they are computed, where that is sooner, into blocks that are
    asked for when the request comes."""
    first_token: FirstToken = "prefill"
    """Whose first token the client sees: the prefill replica's, which hands it on with the cache,
    or the decode replica's, which computes the last token of the prompt again for it."""
    max_local_prefill_tokens: int = 0
    """Prompts with no more tokens to compute stay with the decode pool."""

    def __post_init__(self) -> None:
        rate, latency = self.bw_bytes_per_s, self.latency_s
        if (rate is not None and not rate > 0) or (latency is not None and not latency >= 0):
            raise InputError(
                f"no KV cache comes over a link of {rate} bytes/s after {latency} s",
                hint="give a rate above 0, and a latency of 0 or more",
            )
        if self.max_local_prefill_tokens < 0:
            raise InputError(
                f"max_local_prefill_tokens {self.max_local_prefill_tokens} is below 0",
                hint="0 computes every prompt in the prefill pool",
            )

    def network(self, prefill: Accelerator, decode: Accelerator) -> Network:
        """The adapters at both ends, with what the connector adds.

        UnsupportedError where the catalogue does not know an accelerator's.
        """
        connector = MOONCAKE
        if self.latency_s is not None:
            connector = replace(connector, setup_s=self.latency_s)
        if self.bw_bytes_per_s is not None:
            stated = Adapters(self.bw_bytes_per_s, number=1, node_ranks=1)
            return Network(stated, stated, replace(connector, share=1.0))
        if self.link == "scale_up":
            return Network(Adapters.scale_up(prefill), Adapters.scale_up(decode), connector)
        for device in (prefill, decode):
            if device.network_bytes_per_s is None:
                raise UnsupportedError(
                    f"the network adapter of {device.name} is not known",
                    hint="state `gb_per_s` under `transfer`",
                )
        return Network(Adapters.network(prefill), Adapters.network(decode), connector)


class Way:
    """From the replicas of one pool to those of another: times in nanoseconds, by tokens."""

    def __init__(self, transfer: Transfer, prefill: Deployment, decode: Deployment) -> None:
        """InputError where the two keep caches of different kinds."""
        self._network = transfer.network(prefill.accelerator, decode.accelerator)
        self._by_layer = transfer.by_layer
        self._block_size = decode.block_size
        self._payload = lru_cache(maxsize=4096)(partial(kv_payload, prefill, decode))
        self._payload(decode.block_size)

    def wire_ns(self, tokens: int) -> int:
        """How long a cache of `tokens` takes the adapters of both ends."""
        return round(wire_s(self._payload(self._whole(tokens)), self._network) * 1e9)

    def exposed_ns(self, tokens: int, overlap_ns: int) -> int:
        """From the end of a prompt until its cache is there, on adapters that are free.

        `overlap_ns` of the prompt's computing were spent with the blocks for it reserved.
        """
        if not self._by_layer:
            return round(self._network.connector.setup_s * 1e9) + self.wire_ns(tokens)
        payload = self._payload(self._whole(tokens))
        return round(shorter_s(payload, self._network, overlap_ns / 1e9) * 1e9)

    def _whole(self, tokens: int) -> int:
        """Whole blocks are sent."""
        return cdiv(tokens, self._block_size) * self._block_size
