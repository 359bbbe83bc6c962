"""Training many dictionaries on one stream of activations, resumable to the bit."""

from assay.training.trainer import Measured, Progress, TrainConfig, train

__all__ = ["Measured", "Progress", "TrainConfig", "train"]
