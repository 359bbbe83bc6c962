"""What a language model might take, for tests of the arithmetic on it."""

from __future__ import annotations

from assay.run.needs.model_memory import Growing, ModelMemory

MIB = 1 << 20
MODEL = ModelMemory(
    parts=(64,),
    vocabulary=1000,
    context=128,
    loaded=70 * MIB,
    to_site=90 * MIB,
    to_end=110 * MIB,
    loading=60 * MIB,
    texts=5 * MIB,
    forward=Growing(2 * MIB, 2 * MIB),
    scoring=Growing(20 * MIB, 10 * MIB),
)
