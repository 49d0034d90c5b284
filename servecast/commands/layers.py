"""The layers of a model, in words and as JSON values."""

from __future__ import annotations

from dataclasses import asdict

from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    MoeFfn,
)


def mixer_words(mixer: Mixer | None) -> str:
    """What mixes tokens in a layer: `attention, 32 heads, 8 KV heads of 128`."""
    match mixer:
        case Attention():
            window = f", window {mixer.window}" if mixer.window else ""
            heads = f"{mixer.heads} heads, {mixer.kv_heads} KV heads of {mixer.head_dim}"
            return f"attention, {heads}{window}"
        case LatentAttention():
            sparse = f", {mixer.index_topk} tokens at most" if mixer.index_topk else ""
            return f"latent attention, {mixer.heads} heads, latent of {mixer.latent_dim}{sparse}"
        case LinearAttention():
            return f"linear attention, state of {mixer.state_elements:,}"
        case None:
            return "–"


def ffn_words(ffn: Ffn | None) -> str:
    """What follows the mixer: `dense of 14,336`, `8 of 256 experts of 2,048`."""
    match ffn:
        case DenseFfn():
            return f"dense of {ffn.width:,}"
        case MoeFfn():
            shared = f", shared {ffn.shared_width:,}" if ffn.shared_width else ""
            return f"{ffn.experts_per_token} of {ffn.experts} experts of {ffn.width:,}{shared}"
        case None:
            return "–"


def layers_json(group: LayerGroup) -> dict[str, object]:
    """A group of equal layers, its parts by the names of their fields."""
    return {"count": group.count, "mixer": _part(group.mixer), "ffn": _part(group.ffn)}


def _part(part: Mixer | Ffn | None) -> dict[str, object] | None:
    return None if part is None else {"kind": type(part).__name__, **asdict(part)}
