"""Pure tensor functions that the dictionaries share. Every fast path has a plain reference that tests hold it to."""

from assay.ops.decode import decode, decode_pair
from assay.ops.error import squared_error, unexplained_share
from assay.ops.jump import jump
from assay.ops.path import forced
from assay.ops.select import (
    select_batch_top_k,
    select_group_top_k,
    select_outside,
    select_positive,
    select_sparsemax,
    select_top_k,
)
from assay.ops.sparsemax import sparsemax

__all__ = [
    "decode",
    "decode_pair",
    "forced",
    "jump",
    "select_batch_top_k",
    "select_group_top_k",
    "select_outside",
    "select_positive",
    "select_sparsemax",
    "select_top_k",
    "sparsemax",
    "squared_error",
    "unexplained_share",
]
