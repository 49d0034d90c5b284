"""Speculative decoding: who drafts, how many tokens, and how many of them are accepted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.primitives.drafts_by_batch import Ranges, check_ranges, drafts_at
from servecast.primitives.draws import all_drawn, drawn
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
    num_speculative_tokens_per_batch_size: Ranges = ()
    """How many are drafted in a step, by its requests, and never more than
    `num_speculative_tokens`; empty: always so many."""

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
        check_ranges(self.num_speculative_tokens_per_batch_size)

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

    @property
    def pads_single_tokens(self) -> bool:
        """Whether vLLM makes a lone token as wide as a step that verifies drafts: where all steps
        are equally wide."""
        return not self.num_speculative_tokens_per_batch_size

    def drafts_by_batch(self, largest: int) -> Sequence[int]:
        """Drafts for each request after a step of 0, 1, … up to `largest` requests."""
        most, ranges = self.num_speculative_tokens, self.num_speculative_tokens_per_batch_size
        return drafts_at(ranges, most, largest) if ranges else [most] * (largest + 1)

    def accepted(self, request: int, position: int) -> int:
        """How many drafts for the output from `position` on are accepted: a matter of these two
        alone, however the engine came there."""
        number, accepted = drawn(self.seed, request, position), 0
        for chance in self.chances(request):
            if number >= chance:
                break
            accepted += 1
        return accepted

    def all_accepted(self, request: int, first: int, last: int) -> NDArray[np.int64]:
        """The same for the output from each position from `first` to below `last` on."""
        numbers = all_drawn(self.seed, request, first, last)
        rising = np.array(self.chances(request)[::-1])
        return len(rising) - np.searchsorted(rising, numbers, side="right")

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
        if self.num_speculative_tokens_per_batch_size:
            ranges = self.num_speculative_tokens_per_batch_size
            keys["num_speculative_tokens_per_batch_size"] = ranges
        if self.draft is not None and self.method != "mtp":
            keys["model"] = model or self.draft.model.name
        return json.dumps(keys)
