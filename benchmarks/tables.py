"""Markdown tables from rows of results; nothing is computed here but ratios, means and spreads of what the rows hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from benchmarks.results import Row

MAIN = (576, 16_384, 2048)
"""(d, width, batch) of the main table, where it was measured."""
LIBRARIES = ("torch", "assay", "dictionary_learning", "sae-lens", "sparsify")
KINDS = {
    "encoder": "encoder product",
    "gated": "Gated",
    "relu": "ReLU + L1",
    "jumprelu": "JumpReLU",
    "topk": "TopK",
    "batch_topk": "BatchTopK",
}
MEMORY_STAGES = ("harvest", "train", "evaluate", "examples")
MISSING = "–"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [head, ["---" if place == 0 else "---:" for place in range(len(head))], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands separated, or a dash; what rounds to nothing has no sign."""
    return MISSING if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"


def shape_of(row: Row) -> tuple[int, int, int]:
    return row["d"], row["width"], row["batch"]


def main_shape(rows: Sequence[Row]) -> tuple[int, int, int]:
    """The shape of the main table; the one with most rows when that was not measured."""
    found = [shape_of(row) for row in rows]
    return MAIN if MAIN in found else max(dict.fromkeys(found), key=found.count)


def label(row: Row) -> str:
    """The kind in words, and what is special about the variant."""
    kind, _, special = row["variant"].partition(" ")
    return KINDS[kind] + (f" ({special})" if special and kind != "encoder" else "")


def ordered(rows: Iterable[Row]) -> list[Row]:
    """By kind, its variants one after another, each by library."""
    kinds = list(KINDS)
    return sorted(
        rows,
        key=lambda row: (kinds.index(row["variant"].split()[0]), row["variant"], LIBRARIES.index(row["library"])),
    )


def steps(rows: Sequence[Row]) -> list[str]:
    """A heading and a table for each kind of data at the main shape."""
    shape = main_shape(rows)
    chosen = [row for row in rows if shape_of(row) == shape]
    parts = []
    for data, words in (("real", "Real activations, trained weights"), ("synthetic", "Synthetic rows, random weights")):
        if some := [row for row in chosen if row["data"] == data]:
            d, width, batch = shape
            parts += [f"**{words}**, d = {d}, {width:,} latents, batches of {batch:,}:", step_table(some)]
    return parts


def step_table(rows: Sequence[Row]) -> str:
    """One row an arm; both settings of the allocator side by side."""
    tuned = {(row["library"], row["variant"]): row for row in rows if row["malloc"] == "tuned"}
    default = {(row["library"], row["variant"]): row for row in rows if row["malloc"] == "default"}
    named = {(row["library"], row["variant"]): row for row in [*default.values(), *tuned.values()]}
    head = ("step", "library", "L0", "ms", "units", "units (default malloc)", "products", "peak MiB", "times assay")
    body = []
    for row in ordered(named.values()):
        name = (row["library"], row["variant"])
        one, other = tuned.get(name), default.get(name)
        against = tuned if one else default
        body.append(
            (
                label(row),
                row["library"],
                number(row["l0"], 1) if row["variant"] != "encoder product" else MISSING,
                number(one and one["median_ms"], 0),
                number(one and one["units"]),
                number(other and other["units"]),
                number(row["matmul_units"]),
                number(row["peak_mib"], 0),
                number(times_assay(row, against), 1),
            )
        )
    return table(head, body)


def times_assay(row: Row, named: dict[tuple[str, str], Row]) -> float | None:
    """How many times longer than assay's step of the same kind (and the same k) it takes."""
    words = row["variant"].split()
    same = " ".join([words[0], *(word for word in words[1:] if word.startswith("k="))])
    ours = named.get(("assay", same))
    return row["median_ms"] / ours["median_ms"] if ours and row["library"] != "assay" else None


def shapes(rows: Sequence[Row]) -> str:
    """Units at every shape, allocator tuned."""
    chosen = [row for row in rows if row["malloc"] == "tuned"] or list(rows)
    columns = sorted({(shape_of(row), row["data"]) for row in chosen})
    units = {(row["library"], row["variant"], shape_of(row), row["data"]): row["units"] for row in chosen}
    names = {(row["library"], row["variant"]): row for row in ordered(chosen)}
    head = ["step", "library", *(f"{d}×{width:,}, B {batch:,}, {data}" for (d, width, batch), data in columns)]
    return table(
        head,
        [
            [label(row), row["library"], *(number(units.get((*name, *column))) for column in columns)]
            for name, row in names.items()
        ],
    )


def readme(rows: Sequence[Row]) -> str:
    """Units by kind and library at the main shape: real data where there are any, allocator tuned."""
    chosen = preferred(rows)
    units = {(row["library"], row["variant"]): row["units"] for row in chosen}
    present = [library for library in LIBRARIES if any(row["library"] == library for row in chosen)]
    present = [library for library in present if library != "torch"]
    kinds = [kind for kind in KINDS if kind != "encoder"]
    body = [[KINDS[kind], *(number(units.get((library, kind))) for library in present)] for kind in kinds]
    return table(["step, in encoder products", *present], body)


def preferred(rows: Sequence[Row]) -> list[Row]:
    """The rows of one comparison: main shape, real before synthetic, tuned before default."""
    chosen = [row for row in rows if shape_of(row) == main_shape(rows)]
    for field, best in (("data", "real"), ("malloc", "tuned")):
        chosen = [row for row in chosen if row[field] == best] or chosen
    return chosen


def scaling(rows: Sequence[Row]) -> str:
    """Two tables: by width and by L0."""
    parts = []
    for sweep in ("width", "l0"):
        some = sorted((row for row in rows if row["sweep"] == sweep), key=lambda row: (row["width"], row["l0_asked"]))
        body = [
            (
                number(row["width"], 0),
                number(row["l0"], 0),
                number(row["median_ms"], 0),
                number(row["product_ms"], 0),
                number(row["units"]),
            )
            for row in some
        ]
        parts += [table(("latents", "L0", "ms", "encoder product, ms", "units"), body)] if some else []
    return "\n\n".join(parts)


def stream(rows: Sequence[Row]) -> str:
    """One line for each thing around the step, and a table of one stream with several dictionaries."""
    by_name = {row["what"]: row for row in rows if row["what"] != "one stream"}
    lines = []
    if row := by_name.get("harvest"):
        speeds = f"{number(row['tokens_per_second'], 0)} tokens/s against {number(row['bare_tokens_per_second'], 0)}"
        lines.append(f"- Harvest: {speeds} of the bare forward, {100 * row['ratio']:.1f} % of its speed.")
    if row := by_name.get("store"):
        speeds = f"{number(row['rows_per_second'], 0)} rows/s; reading its files alone, {number(row['file_rows_per_second'], 0)}"
        lines.append(f"- Store: {speeds}.")
    if row := by_name.get("evaluate_model"):
        lines.append(
            f"- `evaluate_model`: {number(row['seconds_per_10k_tokens'], 0)} s for 10,000 tokens with {row['arms']} "
            f"dictionaries of {row['width']:,} latents."
        )
    shared = sorted((row for row in rows if row["what"] == "one stream"), key=lambda row: row["dictionaries"])
    body = [
        (str(row["dictionaries"]), number(row["seconds_per_step"], 3), number(row["rows_read_per_step"], 0))
        for row in shared
    ]
    return "\n".join(lines) + "\n\n" + table(("dictionaries on one stream", "s a step", "rows read a step"), body)


def startup(rows: Sequence[Row]) -> str:
    """Seconds of what comes first."""
    body = [
        (
            f"`{row['what']}`" if "step" not in row["what"] else row["what"],
            number(row["seconds"]),
            number(row.get("fifth")),
        )
        for row in rows
    ]
    return table(("what", "s", "fifth step, s"), body)


def trajectory(rows: Sequence[Row]) -> str:
    """Where both paths end, mean and standard deviation over seeds, and whether the difference is within that spread."""
    metrics = {
        "l0": ("L0", 2),
        "explained_variance": ("explained variance", 4),
        "loss_recovered_zero": ("loss recovered (zero)", 4),
    }
    metrics |= {"loss_recovered_mean": ("loss recovered (mean)", 4)}
    values = {path: {row["seed"]: row for row in rows if row["path"] == path} for path in ("default", "dense")}
    seeds = sorted(values["default"].keys() & values["dense"].keys())
    if len(seeds) < 2:
        return f"{len(rows)} trainings: too few to compare."
    body = []
    for metric, (words, digits) in metrics.items():
        ours, dense = ([values[path][seed][metric] for seed in seeds] for path in ("default", "dense"))
        spread = max(stdev(ours), stdev(dense))
        apart = max(abs(a - b) for a, b in zip(ours, dense, strict=True))
        within = "yes" if abs(mean(ours) - mean(dense)) <= spread else "no"
        shown = [f"{number(mean(one), digits)} ± {number(stdev(one), digits)}" for one in (ours, dense)]
        body.append((words, *shown, number(apart, digits), within))
    head = ("at the end", "assay", "dense reference", "largest difference of a seed", "means equal within the spread")
    return f"{len(seeds)} seeds:\n\n" + table(head, body)


def memory(rows: Sequence[Row]) -> str:
    """How far the estimates are off, and each case with what takes the most."""
    ratios = [row["ratio"] for row in rows]
    within = sum(abs(ratio - 1) <= 0.2 for ratio in ratios)
    unseen = [row["ratio"] for row in rows if not row["seen"]]
    words = f"{within} of {len(rows)} estimates are within 20 % of what was measured, from {min(ratios):.2f} to {max(ratios):.2f} of it"
    words += f"; the {len(unseen)} unseen ones from {min(unseen):.2f} to {max(unseen):.2f}." if unseen else "."
    head = ("stage", "case", "estimated, MiB", "measured, MiB", "ratio", "seen", "largest part, MiB")
    body = []
    for row in sorted(rows, key=lambda row: (MEMORY_STAGES.index(row["stage"]), not row["seen"])):
        parts = {what: size for what, size in row["parts_mib"].items() if what != "interpreter and libraries"}
        largest = max(parts, key=parts.__getitem__)
        sizes = number(row["estimated_mib"], 0), number(row["measured_mib"], 0), number(row["ratio"])
        seen = "yes" if row["seen"] else "no"
        body.append((row["stage"], row["configuration"], *sizes, seen, f"{largest}: {number(parts[largest], 0)}"))
    return f"{words}\n\n" + table(head, body)
