"""Low-rank additions to a frozen image tower that are told which view an image is: conditions, layers, fit, file."""
