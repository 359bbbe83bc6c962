"""A run: one settings tree, one folder, and the stages between a model and a report. Each stage is resumable and does nothing twice."""

from assay.run.settings import Run, recipes
from assay.run.stages import Workspace

__all__ = ["Run", "Workspace", "recipes"]
