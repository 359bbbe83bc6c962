"""The JSON schemas of what an evaluation leaves, as committed. `python -m tests.run.test_schemas` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.config import Config
from assay.reports import Report
from assay.reports.comparison import Comparison
from assay.run.kept import DocumentSums, Measurements

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
KINDS: dict[str, type[Config]] = {
    "evaluation": Measurements,
    "documents": DocumentSums,
    "comparison": Comparison,
    "report": Report,
}


def schema(kind: type[Config]) -> str:
    return json.dumps(kind.model_json_schema(mode="serialization"), indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", KINDS)
def test_the_committed_schema_is_that_of_the_code(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == schema(KINDS[name])


if __name__ == "__main__":
    for name, kind in KINDS.items():
        (FOLDER / f"{name}.json").write_text(schema(kind), encoding="utf-8")
