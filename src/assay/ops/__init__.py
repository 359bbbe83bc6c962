"""Pure tensor functions that the dictionaries share. Every fast path has a plain reference that tests hold it to."""

from assay.ops.anneal import annealed, changes_due, exponent, power, powers
from assay.ops.auxk import auxk, rectified, shifted
from assay.ops.axes import independent_axes, principal_axes
from assay.ops.decode import decode, decode_nested, decode_pair
from assay.ops.error import squared_error, unexplained_share
from assay.ops.gated import gated_codes
from assay.ops.jump import jump
from assay.ops.nonnegative import factorise, nonnegative_codes, split_signs
from assay.ops.parts import part_norms
from assay.ops.path import forced
from assay.ops.polar import nuclear_norm, polar_factor
from assay.ops.prefixes import drawn_prefixes
from assay.ops.pursuit import pursue
from assay.ops.select import (
    products_on,
    select_batch_top_k,
    select_expert_top_k,
    select_group_top_k,
    select_outside,
    select_positive,
    select_sparsemax,
    select_top_k,
)
from assay.ops.sparsemax import sparsemax
from assay.ops.threshold import running_threshold

__all__ = [
    "annealed",
    "auxk",
    "changes_due",
    "decode",
    "decode_nested",
    "decode_pair",
    "drawn_prefixes",
    "exponent",
    "factorise",
    "forced",
    "gated_codes",
    "independent_axes",
    "jump",
    "nonnegative_codes",
    "nuclear_norm",
    "part_norms",
    "polar_factor",
    "power",
    "powers",
    "principal_axes",
    "products_on",
    "pursue",
    "rectified",
    "running_threshold",
    "select_batch_top_k",
    "select_expert_top_k",
    "select_group_top_k",
    "select_outside",
    "select_positive",
    "select_sparsemax",
    "select_top_k",
    "shifted",
    "sparsemax",
    "split_signs",
    "squared_error",
    "unexplained_share",
]
