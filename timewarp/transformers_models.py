"""The models that transformers is given here: one that computes, and a hollow one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec
from servecast.timewarp.oracle import END
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_seam import Manager, Model, require_seam, transformers


@dataclass(frozen=True, slots=True)
class SmallLlama:
    """A Llama small enough for a CPU, with random weights made on the spot."""

    layers: int
    hidden: int
    width: int
    """Of the feed-forward part."""
    heads: int
    vocab: int
    max_model_len: int = 4096

    @property
    def spec(self) -> ModelSpec:
        """The same model, as costs are computed from it."""
        attention = Attention(self.heads, self.heads, self.hidden // self.heads)
        return ModelSpec(
            name=f"small-llama-{self.layers}x{self.hidden}",
            architecture="LlamaForCausalLM",
            hidden=self.hidden,
            vocab=self.vocab,
            tie_embeddings=False,
            max_model_len=self.max_model_len,
            weights_dtype=Dtype.FP32,
            layers=(LayerGroup(self.layers, attention, DenseFfn(self.width)),),
            source="random weights",
        )

    def build(self, seed: int = 0) -> Model:
        """The model in fp32, with PyTorch's own fused attention."""
        package = transformers()
        package.set_seed(seed)
        config = package.LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            vocab_size=self.vocab,
            max_position_embeddings=self.max_model_len,
            attn_implementation="sdpa",
        )
        return cast("Model", package.LlamaForCausalLM(config))


def hollow_model() -> Model:
    """A model whose blocks weigh almost nothing, for an engine that computes none.

    A block is a whole number of 128 bytes, as those of true models are, so that each is allocated
    on its own.
    It calls itself one of flash attention, as a GPU's would be: the engine then makes no masks.
    """
    model = SmallLlama(layers=1, hidden=16, width=2, heads=1, vocab=4).build()
    model.config._attn_implementation = "flash_attention_2"
    return model


def manager_of(model: object, options: TransformersOptions) -> Manager:
    """An engine for `model`; UnsupportedError where this transformers has other names inside."""
    package = transformers()
    generation = package.GenerationConfig(do_sample=False, eos_token_id=END)
    batching = package.ContinuousBatchingConfig(
        num_blocks=options.num_blocks,
        page_size=options.page_size,
        max_batch_tokens=options.max_batch_tokens,
        max_requests_per_batch=options.max_requests_per_batch,
        scheduler_type=options.scheduler_type,
        safety_margin=options.safety_margin,
        allow_block_sharing=options.allow_block_sharing,
        use_async_batching=False,
        auto_switch_to_flash=False,
    )
    manager = cast("Model", model).init_continuous_batching(
        generation_config=generation, continuous_batching_config=batching
    )
    return require_seam(manager)
