"""Image data sets whose samples carry all their degraded views."""
