"""Pure tensor functions that the dictionaries share. Every fast path has a plain reference that tests hold it to."""

from assay.ops.axes import independent_axes, principal_axes
from assay.ops.decode import decode, decode_pair
from assay.ops.error import squared_error, unexplained_share
from assay.ops.nonnegative import factorise, nonnegative_codes, split_signs
from assay.ops.parts import part_norms
from assay.ops.path import forced
from assay.ops.pursuit import pursue
from assay.ops.select import select_batch_top_k, select_group_top_k, select_outside, select_positive, select_top_k

__all__ = [
    "decode",
    "decode_pair",
    "factorise",
    "forced",
    "independent_axes",
    "nonnegative_codes",
    "part_norms",
    "principal_axes",
    "pursue",
    "select_batch_top_k",
    "select_group_top_k",
    "select_outside",
    "select_positive",
    "select_top_k",
    "split_signs",
    "squared_error",
    "unexplained_share",
]
