"""The section `deployment.speculation` of a scenario: who drafts, and how much is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from servecast.choices import Open
from servecast.errors import InputError
from servecast.faults import fault
from servecast.fields import Count, Section
from servecast.model_names import known_model
from servecast.plain import mapping, sequence
from servecast.primitives.acceptance import constant, decaying
from servecast.primitives.drafters import eagle_head, mtp_layer, own_model
from servecast.primitives.drafts_by_batch import Ranges
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.primitives.speculation import DraftModel, Method, Speculation

MOST_DRAFTS = 128
"""vLLM's rejection sampler takes no more (`MAX_SPEC_LEN`)."""

_HIDDEN_STATES = {"eagle": 1, "eagle3": 3}
"""Of the target, that an EAGLE head reads beside the embedding of a token."""

Chance = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Drafts = Annotated[int, Field(strict=True, ge=0, le=MOST_DRAFTS)]


class Decay(Section):
    """The first draft's chance, and what each further one has of the chance before it."""

    first: Chance
    decay: Factor


class Constant(Section):
    """One chance for every draft whose predecessors are accepted: a baseline."""

    conditional: Chance


def _form(value: object) -> str | None:
    if isinstance(value, Decay | Constant):
        return "<decay>" if isinstance(value, Decay) else "<constant>"
    if sequence(value) is not None:
        return "<positions>"
    stated = mapping(value)
    if stated is None or ("conditional" in stated and len(stated) > 1):
        return None
    return "<constant>" if "conditional" in stated else "<decay>"


Acceptance = Annotated[
    Annotated[tuple[Chance, ...], Tag("<positions>")]
    | Annotated[Decay, Tag("<decay>")]
    | Annotated[Constant, Tag("<constant>")],
    Discriminator(
        _form,
        custom_error_type="servecast",
        custom_error_message="is neither a list of chances nor {first, decay}",
        custom_error_context={"hint": "write [0.5, 0.3], or {first: 0.5, decay: 0.9}"},
    ),
]


class SpeculationOptions(Section):
    """Drafts of every step, as vLLM's `speculative_config` names them, and their acceptance."""

    method: Method
    num_speculative_tokens: Open[Drafts]
    """0 is no speculation: with others in a list, whether to draft at all is searched too."""
    acceptance: Acceptance
    """A chance for each position, that this draft and all before it are accepted (of a longer list
    the first ones hold), or how the chance of one more draft decays."""
    num_speculative_tokens_per_batch_size: tuple[tuple[Count, Count, Drafts], ...] = ()
    """vLLM's [first, last, drafts]: so many for each request of a step, by its requests; more
    than `num_speculative_tokens` count as those."""
    request_spread: Chance = 0.0
    """Standard deviation, between requests, of the chance of the first draft."""
    model: str | None = None
    """What drafts: a known model or its config's path; of an EAGLE head any name."""

    @field_validator("model")
    @classmethod
    def _known(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None or info.data.get("method") != "draft_model":
            return name
        return known_model(name, info)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        drafts_itself = self.method in ("ngram", "mtp")
        if drafts_itself and self.model is not None:
            raise fault(f"states a model, and {self.method} has none of its own", "leave it out")
        if not drafts_itself and self.model is None:
            raise fault(f"states no model, and {self.method} needs one", "add `model: NAME`")
        drafts = max(self.num_speculative_tokens)
        if isinstance(self.acceptance, tuple):
            stated = len(self.acceptance)
            if stated < drafts:
                raise fault(
                    f"states acceptance for {stated} of {drafts} drafts",
                    "add the others, or write {first: …, decay: …}",
                )
        try:  # whoever drafts: the model is known later
            spread = self.request_spread if drafts else 0.0
            ranges = self.num_speculative_tokens_per_batch_size
            Speculation("ngram", drafts, self._chances(drafts), None, spread, 0, ranges)
        except InputError as error:
            raise fault(error.message, error.hint) from error
        return self

    def drafting(
        self, num_speculative_tokens: int, ranges: Ranges, model: str | None
    ) -> SpeculationOptions:
        """The same method and acceptance with so many drafts, in `ranges` fewer, by such a model.

        InputError where the acceptance of so many is not stated, or the model is not known.
        """
        changes = {
            "num_speculative_tokens": num_speculative_tokens,
            "num_speculative_tokens_per_batch_size": ranges,
            "model": model,
        }
        try:
            return SpeculationOptions.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            told = error.errors(include_url=False)[0]
            raise InputError(
                f"the command's drafts: {told['msg']}",
                hint=told.get("ctx", {}).get("hint") or "state them under deployment.speculation",
            ) from error

    def value(self, target: ModelSpec, weights_dtype: Dtype, seed: int) -> Speculation | None:
        """The fixed speculation on a target that is served with such weights; None without drafts.

        Raises InputError and UnsupportedError as `draft` does.
        """
        drafts, draft = self.num_speculative_tokens[0], self.draft(target, weights_dtype)
        if not drafts:
            return None
        chances = self._chances(drafts)
        return Speculation(
            self.method,
            drafts,
            chances,
            draft,
            request_spread=self.request_spread,
            seed=seed,
            num_speculative_tokens_per_batch_size=self.num_speculative_tokens_per_batch_size,
        )

    @property
    def warning(self) -> str | None:
        """What is to be told of a form of acceptance that is no more than a baseline."""
        if not isinstance(self.acceptance, Constant) or max(self.num_speculative_tokens) < 2:
            return None
        return (
            "acceptance: one chance for all positions is a baseline: fitted at one number of "
            "drafts it misses others by up to a third and more (docs/speculation.md)"
        )

    def _chances(self, drafts: int) -> tuple[float, ...]:
        match self.acceptance:
            case Decay(first=first, decay=decay):
                return decaying(first, decay, drafts)
            case Constant(conditional=chance):
                return constant(chance, drafts)
            case positions:
                return positions[:drafts]

    def draft(self, target: ModelSpec, weights_dtype: Dtype) -> DraftModel | None:
        """What drafts for a target that is served with such weights; None where a lookup does.

        InputError where it does not go with the target, UnsupportedError where it is not modelled.
        """
        from servecast.primitives.catalogue import model

        name = self.model or ""
        match self.method:
            case "ngram":
                return None
            case "mtp":
                return mtp_layer(target, weights_dtype)
            case "draft_model":
                return own_model(target, replace(model(name), name=_loaded(name)))
            case _:
                return eagle_head(target, name, _HIDDEN_STATES[self.method])


def _loaded(name: str) -> str:
    """What vLLM loads: a repository's name, or the folder of a config."""
    path = Path(name)
    return str(path.parent) if path.is_absolute() and path.suffix == ".json" else name
