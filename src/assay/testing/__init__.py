"""The conformance suite: what every member of a family must do, for those in this package and for yours."""

from assay.testing.dictionaries import CHECKS, Build, builder, check_dictionary

__all__ = ["CHECKS", "Build", "builder", "check_dictionary"]
