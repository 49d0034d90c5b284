"""Speculative decoding: who drafts, how many tokens, and how many of them are accepted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Literal

from servecast.errors import InputError
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.primitives.request_rates import request_rates, widest_spread

Method = Literal["ngram", "draft_model", "eagle", "eagle3", "mtp"]
"""As vLLM names them: a lookup in the text, a model of its own, or a layer on the target's."""


@dataclass(frozen=True, slots=True)
class DraftModel:
    """A model that drafts, in the format of its weights."""

    model: ModelSpec
    weights_dtype: Dtype
    shares_vocabulary: bool = False
    """Whether embedding and head are the target's, and take no memory of their own."""


@dataclass(frozen=True, slots=True)
class Speculation:
    """Drafts for each step of a decoding request, of which the engine takes the accepted."""

    method: Method
    num_speculative_tokens: int
    acceptance: tuple[float, ...]
    """By position: the chance that this draft and all before it are accepted, as vLLM's counters
    `accepted_tokens_per_pos` over `drafts` give it."""
    draft: DraftModel | None = None
    """What drafts; None where nothing is computed for it."""
    request_spread: float = 0.0
    """Standard deviation, between requests, of the chance of the first draft: 0 where all are
    alike. The mean over requests is `acceptance` at every position."""
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.acceptance) != self.num_speculative_tokens:
            raise InputError(
                f"acceptance has {len(self.acceptance)} positions, and num_speculative_tokens is "
                f"{self.num_speculative_tokens}",
                hint="give one chance for each drafted position",
            )
        chances = (1.0, *self.acceptance, 0.0)
        if not all(before >= after for before, after in pairwise(chances)):
            raise InputError(
                f"acceptance {list(self.acceptance)} is not between 1 and 0 and falling: a draft "
                "is accepted only after all before it",
                hint="give the chance that the first i drafts are all accepted, for i = 1, 2, …",
            )
        if (self.draft is None) != (self.method == "ngram"):
            raise InputError(
                f"method {self.method} {'needs' if self.draft is None else 'has no'} draft model",
                hint="give `draft` with every method but ngram",
            )
        widest = widest_spread(chances[1])
        if self.request_spread and not 0 < self.request_spread < widest:
            raise InputError(
                f"request_spread {self.request_spread:g} is not what chances of mean "
                f"{chances[1]:g} can have",
                hint=f"give a standard deviation below {widest:.3f}, or 0 for requests all alike",
            )

    @property
    def uses_hidden_states(self) -> bool:
        """Whether the target's own hidden states are drafted from (vLLM's `use_eagle`)."""
        return self.method in ("eagle", "eagle3", "mtp")

    @property
    def num_lookahead_tokens(self) -> int:
        """KV slots that vLLM keeps for drafts beyond a step's own tokens, for each request."""
        return 0 if self.method == "ngram" else self.num_speculative_tokens

    @property
    def draft_slots(self) -> int:
        """Tokens of the budget that vLLM leaves to the drafts of each request in a step."""
        return 1 if self.method == "draft_model" else 0

    def accepted(self, request: int, position: int) -> int:
        """How many drafts for the output from `position` on are accepted: a matter of these two
        alone, however the engine came there."""
        key = f"{self.seed}/{request}/{position}".encode()
        drawn = int.from_bytes(blake2b(key, digest_size=8).digest()) / 2**64
        return sum(drawn < chance for chance in self.chances(request))

    def chances(self, request: int) -> tuple[float, ...]:
        """A request's own acceptance, by position."""
        if not self.request_spread:
            return self.acceptance
        return request_rates(self.acceptance, self.request_spread, self.seed, request)

    def config(self, model: str | None = None) -> str:
        """vLLM's `--speculative-config`; `model` is where the draft model lies: by default where
        it was named."""
        keys: dict[str, object] = {
            "method": self.method,
            "num_speculative_tokens": self.num_speculative_tokens,
        }
        if self.draft is not None and self.method != "mtp":
            keys["model"] = model or self.draft.model.name
        return json.dumps(keys)
