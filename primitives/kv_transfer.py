"""How long a KV cache is on its way: whole after the prompt, or layer by layer beside it."""

from __future__ import annotations

from servecast.primitives.kv_payload import KvPayload
from servecast.primitives.network import Network


def wire_s(payload: KvPayload, network: Network) -> float:
    """Seconds that the busier end's adapters are taken, at the share that the connector reaches."""
    sent = payload.sender_bytes * payload.sender_ranks
    leaving = sent / network.sender.bytes_per_s(payload.sender_ranks)
    arriving = payload.received_bytes / network.receiver.bytes_per_s(payload.receiver_ranks)
    return max(leaving, arriving) / network.connector.share


def whole_s(payload: KvPayload, network: Network) -> float:
    """Seconds from the end of the prompt until the cache is there, sent in one."""
    return network.connector.setup_s + wire_s(payload, network)


def layerwise_s(payload: KvPayload, network: Network, prefill_s: float) -> float:
    """Seconds that sending each layer as soon as it is computed adds to a prefill of `prefill_s`.

    Layers take equal times to compute and to send. What stays exposed is the last one or, where the
    wire is slower than the device, all that has queued up on it; every layer stops the device for
    its synchronization (Splitwise, ISCA'24, section IV-C). Stages compute one after the other: the
    last one has its own time alone to hide in.
    """
    layers, connector = payload.layers, network.connector
    on_wire = wire_s(payload, network)
    hidden = prefill_s / payload.stages * (layers - 1) / layers
    exposed = max(on_wire / layers, on_wire - hidden)
    return connector.setup_s + layers * connector.layer_s + exposed


def shorter_s(payload: KvPayload, network: Network, prefill_s: float) -> float:
    """Seconds by the better way, as Splitwise chooses: short prompts are sent whole."""
    return min(whole_s(payload, network), layerwise_s(payload, network, prefill_s))
