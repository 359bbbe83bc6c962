"""When memory runs out in a stage: what it held is let go, and the message ends with the cheapest changes and what each would save."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from assay.cli.guard import LOWER
from assay.errors import OutOfMemory, ran_out_of_memory
from assay.run import Workspace
from assay.run.needs.apart import advice_apart
from assay.run.needs.available import give_back
from assay.run.needs.memory import StageName


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
        advice = advice_apart(workspace, stage, sweep=sweep)
        raise OutOfMemory(
            f"memory ran out in the stage {stage} of {workspace.folder} ({what})",
            expected=advice.peak or "enough for this stage",
            do=f"The cheapest changes: {'; '.join(advice.changes)}." if advice.changes else LOWER,
        ) from None


def _let_go(error: BaseException | None) -> None:
    """Drop what the frames that the error passed through still hold, or there would be no room to start a process in."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    give_back()
