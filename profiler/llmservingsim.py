"""Measured layers of LLMServingSim: its tables of vLLM 0.19, and the older ones of PyTorch.

Layers go by name there. With the model's dimensions most are products of known shape, attention
over known heads, or elementwise over a known width. Rules of the import:

- Attention of vLLM was timed on a grid of one prefill chunk beside decoding sequences. Rows with
  the chunk alone are prefill, with its past; rows without it are decode. Rows with both are one
  call that takes between 0.4 and 11 times the two apart, and so an operation of its own,
  `mixed_attention`.
- Experts were timed by how many of them are hit, which is a trait of the table.
- Shapes that several models share are repeats of one measurement, and averaged.
- Left out: unequal contexts (`skew`), which are no operation's dimension and whose times are those
  of three calls; PyTorch's router, whose time is not its product's; the TPU.
"""

from __future__ import annotations

from pathlib import Path

from servecast.primitives.cost_table import CostTable
from servecast.profiler.lss_pytorch import pytorch_tables
from servecast.profiler.lss_vllm import vllm_tables


def import_llmservingsim(folder: str | Path) -> list[CostTable]:
    """The tables in `lss_vllm019_*.csv.gz` and `lss_v0_layers.csv.gz` of a folder.

    InputError where a file is missing, lacks a column, or names a GPU or model that is not known.
    """
    path = Path(folder).expanduser()
    return [*vllm_tables(path), *pytorch_tables(path)]
