"""What is suspicious about measured tables: findings to read, none of them an error by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import CostTable, TableKey, variant_of
from servecast.primitives.envelope import envelope
from servecast.primitives.rows import row_ids
from servecast.primitives.table_kinds import KINDS, operation_of, ideal_s, resized, rows
from servecast.primitives.utilisation import FASTEST, Floats

LAUNCH_S = 20e-6
"""No kernel of a small product takes longer on a data center GPU; launches outside a graph do."""
LAUNCH_RATIO = 4.0
SIBLING_RATIO = 1.4
SPIKE = 1.25
SLOWEST = 1e-4
