"""When memory runs out in a stage: what it held is let go, and the message ends with the cheapest changes and what each would save."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from assay.cli.guard import LOWER
from assay.errors import OutOfMemory, ran_out_of_memory
from assay.run import Workspace
from assay.run.needs.advice import Change, in_words
from assay.run.needs.available import give_back
from assay.run.needs.estimate import advice
from assay.run.needs.memory import Memory, StageName


@contextmanager
def advised(workspace: Workspace, stage: StageName, *, sweep: bool = False) -> Iterator[None]:
    """Turn an allocation that failed inside the block into OutOfMemory with advice. What the stage has written stays whole."""
    try:
        yield
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        what = str(error).partition("\n")[0] or type(error).__name__
        _let_go(error)
        raise _out_of_memory(workspace, stage, what, *_advice(workspace, stage, sweep)) from None


def _let_go(error: BaseException | None) -> None:
    """Drop what the frames that the error passed through still hold, or there would be no room to reckon in."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    give_back()


def _advice(workspace: Workspace, stage: StageName, sweep: bool) -> tuple[Memory | None, list[Change]]:
    try:
        return advice(workspace, stage, sweep=sweep)
    except Exception:  # there may be no room for the estimate either; that memory ran out is what must be said
        return None, []


def _out_of_memory(
    workspace: Workspace, stage: StageName, what: str, memory: Memory | None, changes: list[Change]
) -> OutOfMemory:
    wanted = f"about {in_words(memory.peak.total)}, when {memory.peak.when}" if memory else "enough for this stage"
    do = f"The cheapest changes: {'; '.join(map(str, changes))}." if changes else LOWER
    return OutOfMemory(f"memory ran out in the stage {stage} of {workspace.folder} ({what})", expected=wanted, do=do)
