"""One file a metric. A new file here is found by itself."""
