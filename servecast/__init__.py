"""Forecast LLM serving before renting a GPU.

The public names are loaded on first use, so that `import servecast` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servecast.api import emulate, recommend, simulate, simulate_fleet
    from servecast.errors import ServecastError
    from servecast.loading import load, loads
    from servecast.scenario import Scenario

__version__ = "0.1.0"
__all__ = [
    "Scenario",
    "ServecastError",
    "emulate",
    "load",
    "loads",
    "recommend",
    "simulate",
    "simulate_fleet",
]

_HOMES = {
    "Scenario": "servecast.scenario",
    "ServecastError": "servecast.errors",
    "emulate": "servecast.api",
    "load": "servecast.loading",
    "loads": "servecast.loading",
    "recommend": "servecast.api",
    "simulate": "servecast.api",
    "simulate_fleet": "servecast.api",
}


def __getattr__(name: str) -> object:
    """A public name, imported from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module `servecast` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
