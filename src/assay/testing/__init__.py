"""The conformance suite: what every member of a family must do, for those in this package and for yours."""

from assay.testing.dictionaries import CHECKS, Build, builder, check_dictionary
from assay.testing.metrics import METRIC_CHECKS, check_metric, known_scores

__all__ = ["CHECKS", "METRIC_CHECKS", "Build", "builder", "check_dictionary", "check_metric", "known_scores"]
