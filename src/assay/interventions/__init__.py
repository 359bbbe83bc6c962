"""One file an edit, and `intervene`, which lets a model run with them. A new file here is found by itself."""

from assay.interventions.apply import intervene

__all__ = ["intervene"]
