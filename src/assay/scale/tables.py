"""A plan in words and tables: for the terminal, and for docs/scale.md, whose tables go over tokens and latents."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from assay.scale.figures import Figure, Unit, figures
from assay.scale.workload import Workload

TOKENS, LATENTS = (1e9, 1e10, 1e11, 1e12), (1e5, 1e6, 1e7)
PREFIXES = ("", "k", "M", "G", "T", "P", "E")
PLAIN = 1e7
"""Numbers below it are written out, thousands by commas."""
SHARD_LIMIT, LIST_LIMIT, MEMORY_LIMIT, READ_LIMIT, FEW = 4e9, 4e7, 1e11, 1e9, 10
"""What advice begins at: bytes of a shard, of store.json and of token ids, bytes read a second, firings that tell dead from rare."""


def report(work: Workload) -> str:
    """Every assumption and every figure of a plan with its formula, then what they advise."""
    found = figures(work)
    lines = ["Arithmetic from the assumptions below; nothing here was measured.", "", "assumptions"]
    lines += [f"  {name:<20} {value}" for name, value in _assumptions(work)]
    width, group = max(len(figure.what) for figure in found.values()), ""
    for figure in found.values():
        lines += ["", figure.group] if figure.group != group else []
        group = figure.group
        lines.append(f"  {figure.what:<{width}}  {_said(figure):>10}  = {figure.formula}")
    advised = [textwrap.fill(line, 110, initial_indent="  - ", subsequent_indent="    ") for line in advice(work)]
    return "\n".join([*lines, "", "advice", *advised])


def advice(work: Workload) -> list[str]:
    """What the figures say about how to go about it."""
    found = figures(work)
    value = {name: figure.value for name, figure in found.items()}
    said = {name: _said(figure) for name, figure in found.items()}
    each = work.bytes_each * work.d + 8
    rows = 2 ** int(math.log2(max(SHARD_LIMIT / each, 1)))
    waits = work.latents / work.active
    if value["gpus"] == 1:
        lines = [
            f"The state, {said['state']}, fits one GPU: give each GPU dictionaries of its own and let them share one reading of the "
            f"rows. Copies of one dictionary send {said['sent_factors']} a GPU and step as factors, {said['sent_data']} as dense "
            "gradients, and each makes the whole update."
        ]
    else:
        lines = [
            f"The state, {said['state']}, needs {said['gpus']} GPUs: shard the latents, encoder rows and atoms together. A step sends "
            f"{said['sent_latents']} a GPU however wide the dictionary is; FSDP would send {said['sent_fsdp']}, since it gathers "
            "every weight for each use."
        ]
    if value["read"] > READ_LIMIT:
        lines.append(
            f"On the support a GPU reads {said['read']}: storage is the limit, so train many dictionaries at once."
        )
    if value["table"] > work.gpu_memory * (1 - work.state_share):
        lines.append(f"A dense table of one batch's codes takes {said['table']}: nothing may build one.")
    if value["firings_window"] < FEW:
        lines.append(
            f"An average latent fires {said['firings_window']} times in the dead window, a rare one seldom: widen the window to "
            f"{shown(FEW * waits, 'count')} tokens or more."
        )
    if value["firings_batch"] < 1:
        lines.append(
            f"A batch teaches an average latent {said['firings_batch']} times, so its second moment is made of few gradients: a batch "
            f"of {shown(waits, 'count')} rows would teach it once."
        )
    if (value["description"] > LIST_LIMIT or value["shard"] > SHARD_LIMIT) and rows != work.rows_per_shard:
        lines.append(f"Take shards of {rows:,} rows, {shown(rows * each, 'bytes')} each.")
    if value["ids"] > MEMORY_LIMIT:
        lines.append(
            f"A TextSource would hold {said['ids']} of token ids in every process: write a Source that maps a file of them."
        )
    return [
        *lines,
        f"Write a checkpoint every {said['daly']}: failures and writing then cost about {said['lost']} of the time.",
    ]


def sections() -> dict[str, str]:
    """The generated parts of docs/scale.md by marker."""
    latents = [(_power(value), replace(Workload(), latents=value)) for value in LATENTS]
    tokens = [(_power(value), replace(Workload(), tokens=value)) for value in TOKENS]
    advised = [
        (value, replace(Workload(), latents=value, tokens=rows))
        for value, rows in zip(LATENTS, TOKENS[1:], strict=True)
    ]
    return {
        "assumptions": _table(["assumption", "value"], _assumptions(Workload())),
        "activations": _down("tokens", tokens, "bytes_16", "bytes_32", "shards", "manifest", "description", "ids"),
        "harvest": _down("tokens", tokens, "forward", "harvest_rate", "harvest_write", "harvest_hours", "harvest_wall"),
        "state": _down("latents", latents, "weights", "state_dense", "gpus_dense", "state", "gpus", "table", "support"),
        "rates": _down("latents", latents, "step_dense", "rate_dense", "read_dense", "step", "rate", "read"),
        "hours": "\n\n".join(_grid(name) for name in ("hours_dense", "hours", "wall")),
        "sent": _down("latents", latents, "trainers", "sent_latents", "sent_factors", "sent_data", "sent_fsdp"),
        "checkpoints": _down("latents", latents, "checkpoint", "write", "between", "young", "daly", "lost"),
        "firings": _grid("firings"),
        "batches": _down("latents", latents, "firings_batch", "firings_window"),
        "advice": "\n\n".join(
            "\n".join(
                [
                    f"**{_power(value)} latents, {_power(work.tokens)} tokens**",
                    "",
                    *(f"- {line}" for line in advice(work)),
                ]
            )
            for value, work in advised
        ),
        "report": f"```text\n{report(Workload())}\n```",
    }


def shown(value: float, unit: Unit) -> str:
    """A number with three digits and its unit: "82 TB", "8e+19", "4.2 h", "0.3 %"."""
    if unit in ("bytes", "bytes/s"):
        power = min(max(int(math.log10(max(value, 1)) // 3), 0), len(PREFIXES) - 1)
        return f"{_digits(value / 1000**power)} {PREFIXES[power]}B{unit.removeprefix('bytes')}"
    if unit == "operations":
        return f"{value:.2g}"
    if unit == "share":
        return f"{value * 100:.2g} %"
    if unit == "seconds":
        sizes = ((86_400, "d"), (3600, "h"), (60, "min"))
        size, name = next(((size, name) for size, name in sizes if value >= size), (1, "s"))
        return f"{_digits(value / size)} {name}"
    return _digits(value) + {"hours": " h", "rows/s": " /s", "count": ""}[unit]


def _digits(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 100 <= rounded < PLAIN else f"{rounded:g}"


def _said(figure: Figure) -> str:
    return shown(figure.value, figure.unit)


def _power(value: float) -> str:
    """10⁹ for 1e9."""
    return "10" + str(round(math.log10(value))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _assumptions(work: Workload) -> list[list[str]]:
    values = {field.name: getattr(work, field.name) for field in fields(work)}
    return [
        [name, "not given" if value is None else value if isinstance(value, str) else f"{value:,g}"]
        for name, value in values.items()
    ]


def _down(axis: str, works: Iterable[tuple[str, Workload]], *names: str) -> str:
    """A line for each workload, a column for each figure, and a last line of formulas."""
    plans = [(label, figures(work)) for label, work in works]
    kinds = [plans[0][1][name] for name in names]
    body = [[label, *(_said(found[name]) for name in names)] for label, found in plans]
    return _table([axis, *(kind.what for kind in kinds)], [*body, ["", *(f"`{kind.formula}`" for kind in kinds)]])


def _grid(name: str) -> str:
    """Tokens down, latents across."""
    plans = {
        (rows, width): figures(replace(Workload(), tokens=rows, latents=width))[name]
        for rows in TOKENS
        for width in LATENTS
    }
    kind = plans[TOKENS[0], LATENTS[0]]
    body = [[_power(rows), *(_said(plans[rows, width]) for width in LATENTS)] for rows in TOKENS]
    table = _table(["tokens", *(f"{_power(width)} latents" for width in LATENTS)], body)
    return f"{kind.what[0].upper()}{kind.what[1:]}, `{kind.formula}`:\n\n{table}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---" if place == 0 else "---:" for place in range(len(head))], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
