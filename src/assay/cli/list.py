"""assay list: what can be named in a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import tyro

from assay.cli.arguments import Switch, print_json

Kind = Literal["dictionaries", "metrics", "tasks", "edits", "recipes", "sites"]


def run(kind: Annotated[Kind | None, tyro.conf.Positional] = None, model: str = "smollm2", json: Switch = False) -> int:
    """List.

    Args:
        kind: Which family; all but sites by default.
        model: Model whose sites are listed.
        json: Print as JSON.
    """
    kinds = [kind] if kind else ["dictionaries", "metrics", "tasks", "edits", "recipes"]
    found = {each: _members(each, model) for each in kinds}
    if json:
        print_json(found)
        return 0
    for each, members in found.items():
        print(f"{each}\n" + "\n".join(f"  {name:<28} {line}" for name, line in members.items()))
    return 0


def _members(kind: str, model: str) -> dict[str, str]:
    if kind == "sites":
        from assay.materials import load_language_model
        from assay.sites import list_sites, locate

        network = load_language_model(model).model
        return {name: str(locate(network, name)) for name in list_sites(network)}
    if kind == "tasks":
        return _tasks()
    registry: Any
    if kind == "dictionaries":
        from assay.dictionary import Dictionary

        registry = Dictionary.registry
    elif kind == "metrics":
        from assay.metric import Metric

        registry = Metric.registry
    elif kind == "edits":
        from assay.edit import Edit

        registry = Edit.registry
    else:
        from assay.run import recipes as registry
    return {name: _first_line(registry.named(name)) for name in registry.names()}


def _tasks() -> dict[str, str]:
    """Each task, and below it its scores with their formulas."""
    from assay.task import Task

    found: dict[str, str] = {}
    for name in Task.registry.names():
        task = Task.registry.named(name)
        found[name] = _first_line(task)
        found |= {f"  {name} {score}": kind.formula for score, kind in task.scores.items()}
    return found


def _first_line(member: Any) -> str:
    line = (member.__doc__ or "").strip().splitlines()[:1]
    paper = getattr(member, "paper", "")
    return " ".join([*line, f"[{paper}]" if paper else ""]).strip()
