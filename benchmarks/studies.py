"""Markdown of three studies around the step: other products, the crossover, screening.

Every number comes from a row of results. Words that could be wrong for other numbers ("faster", "within the spread") are chosen by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from benchmarks.crossover import CROSSING, PATHS
from benchmarks.results import Row
from benchmarks.tables import MISSING, main_shape, number, shape_of, table

GAIN = 0.1
"""What a screen must save of the exact select to be called faster."""


def percent(share: float, digits: int = 1) -> str:
    """A share in percent; small ones with one digit that is not zero."""
    return f"{100 * share:.{digits}f} %" if share == 0 or 100 * share >= 10**-digits else f"{100 * share:.1g} %"


def words(shape: tuple[int, int, int]) -> str:
    d, width, batch = shape
    return f"{d}×{width:,}, B {batch:,}"


def products(rows: Sequence[Row]) -> str:
    """Every product at every shape, in units, and what they say at the main shape."""
    named = {(row["product"], row["setting"], shape_of(row)): row for row in rows}
    shapes = sorted({shape_of(row) for row in rows})
    main = main_shape(rows)
    names = dict.fromkeys((row["product"], row["setting"]) for row in rows if row["product"] != "torch.mm")
    body = []
    for product, setting in [("torch.mm", ""), *names]:
        here = named.get((product, setting, main))
        units = [named.get((product, setting, shape)) for shape in shapes]
        code = here["code"] if here else ""
        body.append(
            (
                ", ".join(part for part in (product, setting and f"`{setting}`") if part),
                code or MISSING,
                number(here and here["median_ms"], 0),
                number(here and here["gflops"], 0),
                *(number(row and row["units"]) for row in units),
            )
        )
    head = ("product", "code for", f"ms, {words(main)}", "GFLOP/s", *(f"units, {words(shape)}" for shape in shapes))
    return (
        table(head, body)
        + "\n\n"
        + " ".join(said_of_products({key[:2]: named[key] for key in named if key[2] == main}))
    )


def said_of_products(here: dict[tuple[str, str], Row]) -> Iterable[str]:
    """What the rows of one shape say, against our kernel as it comes."""
    ours = here.get(("assay", ""))
    if ours is None:
        return
    fresh, reused = (here.get((name, "")) for name in ("torch.mm", "torch.mm, reused output"))
    yield f"All on {ours['threads']} threads, at {words(shape_of(ours))}."
    if fresh and reused:
        yield (
            f"Our kernel, which also compares and returns CSR, takes {number(ours['units'])} of torch.mm with a fresh output and "
            f"{number(ours['median_ms'] / reused['median_ms'])} of torch.mm into memory that it is given."
        )
    others = [row for (product, _), row in here.items() if product.partition(",")[0] != "assay"]
    best = min(others, key=lambda row: row["median_ms"])
    yield (
        f"The fastest product alone is that of {best['product']}{best['setting'] and ' with ' + best['setting']}, "
        f"{number(best['gflops'], 0)} GFLOP/s; ours, select included, takes {number(ours['median_ms'] / best['median_ms'])} of its time."
    )
    if onednn := here.get(("oneDNN", "")):
        yield f"oneDNN, which PyTorch brings beside MKL, takes {number(onednn['units'])} units."
    if (narrow := here.get(("assay", "AVX2"))) and narrow["code"] != ours["code"]:
        yield f"Compiled for AVX2 alone ours takes {number(narrow['units'])}."
    if fresh:
        yield (
            f"So a unit is as long as MKL makes it on this machine ({number(fresh['gflops'], 0)} GFLOP/s): a step below one unit "
            "does fewer or faster multiplications than this product, not fewer than any."
        )


def crossover(rows: Sequence[Row]) -> str:
    """A step's units by density and path, a table for each setting of the allocator, and where paths cross."""
    parts = []
    for malloc in dict.fromkeys(row["malloc"] for row in rows):
        some = [row for row in rows if row["malloc"] == malloc]
        parts += [f"Units, {malloc} malloc:", crossover_table(some), " ".join(said_of_crossover(some))]
    return "\n\n".join(parts)


def crossover_table(rows: Sequence[Row]) -> str:
    shapes = sorted({shape_of(row) for row in rows})
    units = {(shape_of(row), row["path"], row["density"]): row["units"] for row in rows if row["density"] != CROSSING}
    densities = sorted({density for *_, density in units})
    columns = [(shape, path) for shape in shapes for path in PATHS]
    body = [
        [f"{density:g}", *(number(units.get((*column, density)), 1) for column in columns)] for density in densities
    ]
    return table(("density", *(f"{path}, {words(shape)}" for shape, path in columns)), body)


def said_of_crossover(rows: Sequence[Row]) -> Iterable[str]:
    """Where each sparse path meets the dense one, and what assay's own limit means."""
    from assay.ops.path import CROSSOVER

    met = [row for row in rows if row["density"] == CROSSING]
    densities = [row["density"] for row in rows if row["density"] != CROSSING]
    for path in PATHS[:-1]:
        places = [(row["at"], words(shape_of(row))) for row in met if row["path"] == path]
        said = [f"{f'none up to {max(densities):g}' if at is None else number(at)} at {shape}" for at, shape in places]
        yield f"The density from which the dense path is cheaper than {path}: {'; '.join(said)}."
    time = {
        (shape_of(row), row["path"], row["density"]): row["median_ms"] for row in rows if row["density"] != CROSSING
    }
    ratios = [
        time[shape, "kernels", density] / time[shape, "dense", density]
        for shape, path, density in time
        if path == "dense" and density == CROSSOVER
    ]
    if ratios:
        yield (
            f"assay goes dense above {CROSSOVER:g}, where a step on supports takes {number(min(ratios))} to {number(max(ratios))} "
            "of the dense one."
        )
    yield "Trained dictionaries are at the top of the table or above it; the rest is for the first steps."


def screening(rows: Sequence[Row]) -> str:
    """Cost and misses of screens at each width, the best number of candidates for a whole block each, and trainings."""
    parts = []
    for width in dict.fromkeys(row["width"] for row in rows if row["what"] == "exact"):
        some = [row for row in rows if row["width"] == width and row["what"] != "trained"]
        parts += [f"**{width:,} latents**:", screening_table(best_screens(some)), " ".join(said_of_screening(some))]
    if trained := [row for row in rows if row["what"] == "trained"]:
        parts += [trained_table(trained), " ".join(said_of_trained(trained))]
    return "\n\n".join(parts)


def best_screens(rows: Sequence[Row]) -> list[Row]:
    """For each k and z the fastest number of candidates above which a block is finished whole."""
    screens: dict[tuple[int, float], Row] = {}
    for row in rows:
        if row["what"] == "screened":
            place = row["k"], row["z"]
            screens[place] = min(row, screens.get(place, row), key=lambda one: one["median_ms"])
    return list(screens.values())


def screening_table(screens: Sequence[Row]) -> str:
    head = ("k of d, z", "units", "of exact", "candidates", "blocks with one", "finished whole", "missed", "error")
    body = [
        (
            f"{row['k']} of {row['d']}, {row['z']:g}",
            number(row["units"]),
            number(row["of_exact"]),
            percent(row["candidates"]),
            percent(row["blocks_with_candidate"]),
            percent(row["blocks_whole"]),
            percent(row["missed"], 2),
            f"{row['reconstruction_error']:.1g}",
        )
        for row in screens
    ]
    return table(head, body)


def said_of_screening(rows: Sequence[Row]) -> Iterable[str]:
    """Whether screens are faster, at which misses, and what a rotation would cost them."""
    exact, to_rows, to_encoder = (
        next(row for row in rows if row["what"] == what) for what in ("exact", "rotate rows", "rotate encoder")
    )
    screens = best_screens(rows)
    yield f"The exact select takes {number(exact['units'])} units here, at an L0 of {number(screens[0]['l0'], 0)}."
    best = min(screens, key=lambda row: row["median_ms"])
    few = [row for row in screens if row["missed"] < 1e-3]
    for row, said in [
        (best, "The fastest screen"),
        *([(min(few, key=lambda one: one["median_ms"]), "The fastest that misses under 0.1 %")] if few else []),
    ]:
        verdict = "faster" if row["of_exact"] < 1 - GAIN else "not faster by a tenth"
        yield (
            f"{said} (k = {row['k']}, z = {row['z']:g}) takes {number(row['of_exact'])} of that, {verdict}, misses "
            f"{percent(row['missed'], 2)} of the active entries and changes reconstructions by {percent(row['reconstruction_error'], 2)}."
        )
    saved, spent = exact["units"] - best["units"], to_rows["units"] + to_encoder["units"]
    yield (
        f"That is {number(saved)} units saved where rows and encoder are in the basis already; rotating both at each step would cost "
        f"{number(spent)}, {'less' if spent < saved else 'more'} than that."
    )


def trained_table(rows: Sequence[Row]) -> str:
    head = ("trained with", "L0", "explained variance", "ms a step")
    body = []
    for place, some in arms(rows).items():
        ends = [
            spread([row[name] for row in some], digits)
            for name, digits in (("l0", 2), ("explained_variance", 4), ("step_ms", 1))
        ]
        body.append((arm_words(place), *ends))
    return table(head, body)


def said_of_trained(rows: Sequence[Row]) -> Iterable[str]:
    """Whether trainings with a screen end where exact ones do."""
    one = rows[0]
    seeds = len({row["seed"] for row in rows})
    amount = f"{seeds} seed{'s' * (seeds > 1)}, {one['width']:,} latents, {one['steps']} steps"
    yield f"{amount} in the basis, from the same atoms, evaluated exactly on unseen rows."
    named = arms(rows)
    exact = next((some for (_, z), some in named.items() if z == 0), [])
    for place, some in named.items():
        if place[1] == 0 or len(exact) < 2 or len(some) < 2:
            continue
        apart = [name for name in ("l0", "explained_variance") if not within(some, exact, name)]
        yield f"Training with {arm_words(place)} {'does not end' if apart else 'ends'} within the spread of the exact one."


def arms(rows: Sequence[Row]) -> dict[tuple[int, float], list[Row]]:
    places = dict.fromkeys((row["k"], row["z"]) for row in rows)
    return {place: [row for row in rows if (row["k"], row["z"]) == place] for place in places}


def arm_words(place: tuple[int, float]) -> str:
    return "the exact select" if place[1] == 0 else f"k = {place[0]}, z = {place[1]:g}"


def within(some: Sequence[Row], others: Sequence[Row], name: str) -> bool:
    """Whether the means differ by no more than the larger deviation over seeds."""
    ours, theirs = ([row[name] for row in rows] for rows in (some, others))
    return abs(mean(ours) - mean(theirs)) <= max(stdev(ours), stdev(theirs))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    return number(mean(values), digits) + (f" ± {number(stdev(values), digits)}" if len(values) > 1 else "")
