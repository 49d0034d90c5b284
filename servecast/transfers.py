"""The section `transfer` of a scenario: what carries KV caches between its pools."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from servecast.faults import fault
from servecast.fields import Flag, Section
from servecast.simulator.fleet.transfer import FirstToken, LinkName, Transfer
from servecast.traffic import Positive


class TransferSection(Section):
    """From pools with the role `prefill` to those with the role `decode`."""

    link: LinkName | None = None
    """Of the catalogue: one network adapter for each GPU, or the link inside a node."""
    gb_per_s: Positive | None = None
    """In its place: what the way of each GPU really carries."""
    latency_us: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    by_layer: Flag = False
    first_token: FirstToken = "prefill"
    max_local_prefill_tokens: Annotated[int, Field(strict=True, ge=0)] = 0

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.link is not None and self.gb_per_s is not None:
            raise fault(
                "names a link and states its rate", "write `link` or `gb_per_s`, whichever you know"
            )
        return self

    def value(self) -> Transfer:
        """The transfer as the simulator takes it."""
        return Transfer(
            link=self.link or "network",
            bw_bytes_per_s=None if self.gb_per_s is None else self.gb_per_s * 1e9,
            latency_s=None if self.latency_us is None else self.latency_us / 1e6,
            by_layer=self.by_layer,
            first_token=self.first_token,
            max_local_prefill_tokens=self.max_local_prefill_tokens,
        )
