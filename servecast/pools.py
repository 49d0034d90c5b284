"""The section `pools` of a scenario: what differs between replicas that serve together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from servecast.fields import Section
from servecast.model_names import ModelName
from servecast.simulator.fleet.fleet import Role


class PoolSection(Section):
    """One pool: the scenario, except for what is stated here."""

    name: Annotated[str, Field(max_length=40, pattern=r"^\w[\w.-]*$")]
    role: Role = "both"
    """`prefill` and `decode` pools share each request; `both` serves it whole."""
    classes: tuple[str, ...] = ()
    """The classes of requests that it serves; absent: all that no other pool states."""
    model: ModelName | None = None
    hardware: dict[str, object] | None = None
    engine: dict[str, object] | None = None
    deployment: dict[str, object] | None = None
