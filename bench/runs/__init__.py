"""A run's folder: what it holds, who owns it, how it is written and read."""
