"""Forecast LLM serving before renting a GPU.

The public names are loaded on first use, so that `import servecast` stays light.
"""

from __future__ import annotations

__version__ = "0.1.0"
