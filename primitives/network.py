"""The way of a KV cache between two replicas: adapters at either end, and what drives them."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.roofline import network_bytes_per_s
from servecast.primitives.sharding import cdiv


@dataclass(frozen=True, slots=True)
class Adapters:
    """What leads out of a node, shared out evenly among its ranks."""

    bw_bytes_per_s: float
    """Of one adapter, one way, as its data sheet states it."""
    number: int
    """Adapters of a node."""
    node_ranks: int
    """Accelerators of a node."""

    @classmethod
    def network(cls, accelerator: Accelerator) -> Adapters:
        """One network adapter for each accelerator, as in an HGX node.

        UnsupportedError where the catalogue does not know the accelerator's.
        """
        domain = accelerator.link.domain
        return cls(network_bytes_per_s(accelerator), domain, domain)

    @classmethod
    def scale_up(cls, accelerator: Accelerator) -> Adapters:
        """The link inside a node; UnsupportedError where accelerators have none."""
        link = accelerator.link
        if link.domain == 1:
            raise UnsupportedError(
                f"accelerators of kind {accelerator.name} have no link among them",
                hint="state the network between the replicas",
            )
        return cls(link.bw_bytes_per_s, link.domain, link.domain)

    def bytes_per_s(self, ranks: int) -> float:
        """What `ranks` ranks reach one way: as many adapters as are theirs, and at least one."""
        return cdiv(self.number * ranks, self.node_ranks) * self.bw_bytes_per_s


@dataclass(frozen=True, slots=True)
class Connector:
    """The library that moves a KV cache: what of the adapters it reaches, and what it adds."""

    share: float
    """Of the adapters' data sheet, reached by a long message."""
    setup_s: float
    """For each request: handshake, registration, notice of the end."""
    layer_s: float
    """For each layer sent on its own: the synchronization between computing and sending it."""


MOONCAKE = Connector(share=0.732, setup_s=0.386e-3, layer_s=62.5e-6)
"""Share and setup: least largest error over nine sizes of vLLM's MooncakeConnector, TP8 to TP8 of
H800 by eight adapters of 200 Gbit/s (Mooncake, docs/.../vllm-v1-pd-performance.md). It sends whole
caches; `layer_s` is Splitwise's of the H100. Elsewhere Mooncake's engine reached 87 % of four such
adapters and 48 % of eight of 400 Gbit/s (FAST'25)."""

SPLITWISE_A100 = Connector(share=1.0, setup_s=0.0, layer_s=100e-6)
SPLITWISE_H100 = Connector(share=1.0, setup_s=0.0, layer_s=62.5e-6)
"""Layer by layer about 8 ms (A100) and 5 ms (H100) stay exposed whatever the prompt: a constant,
spread here over the 80 layers of Llama-2-70B. The adapter is taken at its word, as nothing was
published that tells share and setup apart (Splitwise, ISCA'24, section VI-A)."""


@dataclass(frozen=True, slots=True)
class Network:
    """The adapters at both ends and the connector: what a transfer is priced by."""

    sender: Adapters
    receiver: Adapters
    connector: Connector = MOONCAKE
