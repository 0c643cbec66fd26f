"""Is a map right? The loss while images are repaired in its order, and what it is of randomised models."""
