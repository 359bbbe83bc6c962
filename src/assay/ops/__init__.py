"""Pure tensor functions that the dictionaries share. Every fast path has a plain reference that tests hold it to."""

from assay.ops.decode import decode
from assay.ops.error import squared_error
from assay.ops.select import select_positive, select_top_k

__all__ = ["decode", "select_positive", "select_top_k", "squared_error"]
