"""`lightning sweep`: a grid of test runs, each in a folder of its own, shared by any number of processes."""
