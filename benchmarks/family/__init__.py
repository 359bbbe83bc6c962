"""Every registered dictionary on the same activations, order and budget, compared where all have the same L0."""
