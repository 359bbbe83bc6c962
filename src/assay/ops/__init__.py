"""Pure tensor functions that the dictionaries share. Every fast path has a plain reference that tests hold it to."""

from assay.ops.auxk import auxk, rectified, shifted
from assay.ops.decode import decode, decode_nested, decode_pair
from assay.ops.error import squared_error, unexplained_share
from assay.ops.path import forced
from assay.ops.prefixes import drawn_prefixes
from assay.ops.select import (
    select_batch_top_k,
    select_expert_top_k,
    select_group_top_k,
    select_outside,
    select_positive,
    select_top_k,
)
from assay.ops.threshold import running_threshold

__all__ = [
    "auxk",
    "decode",
    "decode_nested",
    "decode_pair",
    "drawn_prefixes",
    "forced",
    "rectified",
    "running_threshold",
    "select_batch_top_k",
    "select_expert_top_k",
    "select_group_top_k",
    "select_outside",
    "select_positive",
    "select_top_k",
    "shifted",
    "squared_error",
    "unexplained_share",
]
