"""What the stages of a run will take, found before anything starts, and what would lessen it."""
