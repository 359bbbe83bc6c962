"""Training many dictionaries on one stream of activations, resumable to the bit."""

from assay.training.progress import Measured, Progress
from assay.training.trainer import TrainConfig, train

__all__ = ["Measured", "Progress", "TrainConfig", "train"]
