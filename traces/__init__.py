"""What arrives: workloads, their readers, synthesizers and statistics."""

from servecast.traces.arrivals import ArrivalProcess, Constant, Gamma, Poisson, Weibull
from servecast.traces.classes import Classes
from servecast.traces.client_pool import ClientPool, LengthHistogram, PoolClient
from servecast.traces.formats import Layout
from servecast.traces.lengths import (
    Bell,
    EmpiricalLengths,
    FixedLengths,
    LengthModel,
    LognormalLengths,
)
from servecast.traces.presets import PRESETS, TrafficShape, preset
from servecast.traces.readers import layout, read, read_lengths
from servecast.traces.reshape import closed_loop, head, rescale, sorted_by_arrival
from servecast.traces.servegen import read_pool
from servecast.traces.sessions import Sessions
from servecast.traces.statistics import Statistics, statistics
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload
from servecast.traces.writers import write

__all__ = [
    "PRESETS",
    "ArrivalProcess",
    "Bell",
    "Classes",
    "ClientPool",
    "Constant",
    "EmpiricalLengths",
    "FixedLengths",
    "Gamma",
    "Layout",
    "LengthHistogram",
    "LengthModel",
    "LognormalLengths",
    "Poisson",
    "PoolClient",
    "Sessions",
    "Statistics",
    "TrafficShape",
    "Weibull",
    "Workload",
    "closed_loop",
    "head",
    "layout",
    "preset",
    "read",
    "read_lengths",
    "read_pool",
    "rescale",
    "sorted_by_arrival",
    "statistics",
    "synthesize",
    "write",
]
