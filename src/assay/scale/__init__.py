"""What a harvest and a training of some size cost in bytes, GPUs and hours: arithmetic from stated assumptions, nothing measured."""

from assay.scale.figures import Figure, checkpoint_interval, figures
from assay.scale.tables import advice, report, sections
from assay.scale.workload import Workload

__all__ = ["Figure", "Workload", "advice", "checkpoint_interval", "figures", "report", "sections"]
