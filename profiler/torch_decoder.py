"""One step of a plain decoder with weights of its true size: decode, verification or skipped.

What a step takes in one piece: launches between kernels, rotation and cache writes included, which
tables of single kernels leave out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

from servecast.profiler.torch_attention import attend, lower_right
from servecast.profiler.torch_tensors import Kernel, Shape, Tensor


def model_step(sizes: Mapping[str, int]) -> Kernel:
    """Token ids to picked tokens through so many layers, caches of equal length, not paged."""
    decoder = _Decoder(sizes)
    hidden, vocab = sizes["hidden"], sizes["vocab"]
    cold = ((vocab, hidden), (vocab, hidden), (hidden,), *decoder.layer_shapes * sizes["layers"])
    return Kernel((), cold, decoder.step, decoder.inputs)


class _Decoder:
    """A decoder's arithmetic at given sizes; a kernel asks for inputs, then for steps on them."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._hidden, self._head_dim = sizes["hidden"], sizes["head_dim"]
        self._queries, self._context = sizes["queries"], sizes["context_tokens"]
        self._sequences, self._width = sizes["sequences"], sizes["width"]
        self._heads = (sizes["heads"], sizes["kv_heads"], sizes["kv_heads"])

    @property
    def layer_shapes(self) -> tuple[Shape, ...]:
        """Two norms with two products after each, keys and values."""
        norm, outer = (self._hidden,), self._heads[0] * self._head_dim
        attention = ((sum(self._heads) * self._head_dim, self._hidden), (self._hidden, outer))
        feed_forward = ((2 * self._width, self._hidden), (self._hidden, self._width))
        cache = (self._sequences, self._heads[1], self._context, self._head_dim)
        return (norm, *attention, norm, *feed_forward, cache, cache)

    def inputs(self, torch: ModuleType, device: str) -> Sequence[Tensor]:
        """Token ids, cosines and sines of the rotation, and a mask where queries are several."""
        ids = torch.zeros(self._sequences, self._queries, dtype=torch.int64, device=device)
        angles = torch.rand(self._queries, self._head_dim, device=device)
        made: list[Tensor] = [ids, angles.cos(), angles.sin()]
        if self._queries > 1:
            made += lower_right(self._queries, self._context)(torch, device)
        return made

    def step(self, torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        """The picked token of every query."""
        count = 3 + (self._queries > 1)
        ids, *angles_and_mask = tensors[:count]
        embedding, head, norm, *layers = tensors[count:]
        x = torch.nn.functional.embedding(ids, embedding)
        length = len(self.layer_shapes)
        for first in range(0, len(layers), length):
            x = self._layer(torch, x, angles_and_mask, layers[first : first + length])
        return torch.argmax(torch.nn.functional.linear(self._norm(torch, x, norm), head), -1)

    def _layer(
        self, torch: ModuleType, x: Tensor, inputs: Sequence[Tensor], own: Sequence[Tensor]
    ) -> Tensor:
        linear = torch.nn.functional.linear
        before, fused, out, after, up, down, *cache = own
        attended = self._attended(torch, linear(self._norm(torch, x, before), fused), inputs, cache)
        x = torch.add(x, linear(attended, out))
        gate, inner = torch.chunk(linear(self._norm(torch, x, after), up), 2, dim=-1)
        return torch.add(x, linear(torch.mul(torch.nn.functional.silu(gate), inner), down))

    def _norm(self, torch: ModuleType, x: Tensor, weights: Tensor) -> Tensor:
        return torch.nn.functional.rms_norm(x, (self._hidden,), weights)

    def _attended(
        self, torch: ModuleType, fused: Tensor, inputs: Sequence[Tensor], cache: Sequence[Tensor]
    ) -> Tensor:
        """What the heads read from the cache, once the step's own keys and values are in it."""
        cos, sin, *mask = inputs
        parts = torch.split(fused, [heads * self._head_dim for heads in self._heads], -1)
        query, key, value = (
            torch.transpose(torch.unflatten(part, -1, (heads, self._head_dim)), 1, 2)
            for part, heads in zip(parts, self._heads, strict=True)
        )
        query, key = (_rotated(torch, each, cos, sin) for each in (query, key))
        for held, new in zip(cache, (key, value), strict=True):
            torch.narrow(held, 2, self._context - self._queries, self._queries).copy_(new)
        grouped = self._heads[0] != self._heads[1]
        out = attend(torch, [query, *mask, *cache], grouped=grouped)
        return torch.flatten(torch.transpose(out, 1, 2), -2)


def _rotated(torch: ModuleType, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = torch.chunk(x, 2, dim=-1)
    turned = torch.cat([torch.neg(high), low], -1)
    return torch.add(torch.mul(x, cos), torch.mul(turned, sin)).to(low.dtype)
