"""What a disaggregated row says of one of its pools."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Size = Annotated[int, Field(ge=1)]
Role = Literal["prefill", "decode"]
ROLES: tuple[Role, Role] = ("prefill", "decode")


class PoolLabels(BaseModel):
    """A pool's workers and how each is cut; a blank cell is 1, as for servers that do both."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    num_workers: Size
    batch_size: Size | None = None
    """Of decoding workers: requests of each attention-data-parallel rank."""
    tp_size: Size = 1
    pp_size: Size = 1
    attention_dp_size: Size = 1
    moe_tp_size: Annotated[int, Field(ge=0)] = 1
    moe_ep_size: Annotated[int, Field(ge=0)] = 1


def pool_cells(cells: dict[str, object], role: Role) -> dict[str, object] | None:
    """A row's cells of one pool by the names of its fields; None where it states no workers."""
    if f"{role}_num_workers" not in cells:
        return None
    start = f"{role}_"
    return {name.removeprefix(start): cells[name] for name in cells if name.startswith(start)}
