"""Where costs come from: databases of others, imported as tables of measured costs."""

from servecast.profiler.aic_package import systems, systems_root
from servecast.profiler.aiconfigurator import import_system
from servecast.profiler.llmservingsim import import_llmservingsim
from servecast.profiler.plain_costs import read_plain_costs

__all__ = [
    "import_llmservingsim",
    "import_system",
    "read_plain_costs",
    "systems",
    "systems_root",
]
