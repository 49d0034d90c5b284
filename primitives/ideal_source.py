"""The cost source of a perfect device: every operation at the peaks of the data sheet."""

from __future__ import annotations

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import AllReduce, Operation, Quantity


class IdealSource:
    """Prices what computing and reading would take at the peaks; links take nothing.

    Over the time that a step really takes, this is the device's utilisation.
    """

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """The seconds, as the roofline itself that they are."""
        return Cost(self.seconds(operation, device), Provenance.ROOFLINE, 0.0)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """max(FLOPs / peak, bytes / bandwidth); 0 while only a link is busy."""
        if isinstance(operation, AllReduce | Collective | Send | ExpertExchange):
            return 0.0
        return ideal_s(operation, device)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """None: one call for prompts and decodes has no more to do than two."""
        return None
