"""What drafts for a target: a model of its own, or one more layer that reads its hidden states."""

from __future__ import annotations

from dataclasses import replace

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec, MoeFfn
from servecast.primitives.speculation import DraftModel
from servecast.primitives.weight_memory import wide_dtype


def own_model(target: ModelSpec, draft: ModelSpec) -> DraftModel:
    """A whole model, in its checkpoint's format. InputError where its tokens are others."""
    if draft.vocab != target.vocab:
        raise InputError(
            f"`{draft.name}` has {draft.vocab:,} tokens in its vocabulary, and {target.name} "
            f"{target.vocab:,}",
            hint="draft with a model of the same family: vLLM refuses another vocabulary",
        )
    return DraftModel(draft, draft.weights_dtype)


def eagle_head(target: ModelSpec, name: str, hidden_states: int) -> DraftModel:
    """A layer like the target's, in 16 bits, on the embedding and so many of its hidden states.

    UnsupportedError for a target whose layers are of several kinds, or not dense attention: what a
    head for it looks like is not known.
    """
    match target.layers:
        case (LayerGroup(mixer=Attention(window=None), ffn=DenseFfn()) as layer,):
            return _layer_on(target, name, layer, wide_dtype(target.weights_dtype), hidden_states)
        case _:
            raise UnsupportedError(
                f"an EAGLE head on {target.name} is not modelled yet: its layers are not all dense "
                "and alike",
                hint="draft with `ngram`, or with a model of its own by `draft_model`",
            )


def mtp_layer(target: ModelSpec, weights_dtype: Dtype) -> DraftModel:
    """The layer for multi-token prediction that the target's checkpoint holds, run for each draft.

    InputError where it holds none; UnsupportedError where it holds several, or where layers of
    several kinds leave open which of them it is like.
    """
    if not target.mtp_layers:
        raise InputError(
            f"the checkpoint of {target.name} holds no layer for multi-token prediction",
            hint="draft with `ngram`, or with a model of its own by `draft_model`",
        )
    if target.mtp_layers > 1:
        raise UnsupportedError(
            f"{target.mtp_layers} layers for multi-token prediction, as {target.name} has, are "
            "not modelled yet",
            hint="draft with `ngram`, or with a model of its own by `draft_model`",
        )
    mixers = {group.mixer for group in target.layers}
    if len(mixers) > 1:
        raise UnsupportedError(
            f"multi-token prediction of {target.name} is not modelled yet: its layers have mixers "
            f"of {len(mixers)} kinds",
            hint="draft with `ngram`, or with a model of its own by `draft_model`",
        )
    layer = max(target.layers, key=lambda group: isinstance(group.ffn, MoeFfn))
    return _layer_on(target, target.name, layer, weights_dtype, hidden_states=1)


def _layer_on(
    target: ModelSpec, name: str, layer: LayerGroup, weights_dtype: Dtype, hidden_states: int
) -> DraftModel:
    """One layer, and the projection to it: a feed-forward part that has as many weights."""
    inputs = 1 + hidden_states
    projection = LayerGroup(1, None, DenseFfn(target.hidden * inputs // 2, gated=False))
    spec = replace(target, name=name, layers=(replace(layer, count=1), projection), mtp_layers=0)
    return DraftModel(spec, weights_dtype, shares_vocabulary=True)
