"""Questions about a trained dictionary."""
