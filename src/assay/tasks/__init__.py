"""One file a task: what a dictionary is good for inside a model. Found by name; tasks don't import each other."""
