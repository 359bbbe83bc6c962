"""Functions that return a complete `Run`, named for what they reproduce; found by name, imported by nothing."""
