"""What latents mean in words, and how well the words say where they fire: windows, rules, judges, scorers (arXiv:2410.13928)."""
