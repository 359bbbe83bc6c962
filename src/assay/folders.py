"""Where assay keeps what it can make or fetch again: outside every repository."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The environment variable ASSAY_CACHE, else the user's cache folder of this system."""
    import platformdirs

    chosen = os.environ.get("ASSAY_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("assay"))
