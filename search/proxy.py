"""How nginx spreads requests as they were spread in the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment, Routing

_METHODS: Mapping[Routing, str] = MappingProxyType(
    {
        "round_robin": "",
        "random": "random;",
        "least_outstanding": "least_conn;",
        "power_of_two": "random two least_conn;",
        "central_queue": "least_conn;",
    }
)
"""The line of an upstream; of one queue for all, which nginx has not, what is nearest to it."""
_TAKES: Mapping[Routing, str] = MappingProxyType(
    {
        "least_kv": "llm-d's scheduler with its scorer of KV cache utilization alone",
        "prefix_affinity": "llm-d's scheduler with its scorers of prefix, KV cache and queue",
        "kv_overlap": "Dynamo's KV router",
        "sticky_sessions": "a proxy that finds the session in a request",
    }
)


def balancing(deployment: Deployment) -> str:
    """The line that nginx takes before the replicas; empty: it has them take turns, or is not there
    because there is one replica.

    UnsupportedError for what nginx does not do: the files would start something else.
    """
    gateway, routing = deployment.gateway, deployment.routing
    if gateway is not None:
        raise UnsupportedError(
            f"the files start nothing that holds requests to {gateway.max_outstanding} at once",
            hint="bound them in your own gateway, or leave `gateway` out",
        )
    if deployment.replicas == 1:
        return ""
    if routing in _TAKES:
        raise UnsupportedError(
            f"routing by {routing} takes {_TAKES[routing]}, which the files do not start",
            hint="set it up by its own documents, or take least_outstanding, which nginx does",
        )
    if deployment.routing_options.refresh_ms:
        raise UnsupportedError(
            f"nginx counts its own requests and is never {deployment.routing_options.refresh_ms:g} "
            "ms late",
            hint="leave refresh_ms out",
        )
    return _METHODS[routing]
