"""Every picture, drawn once for TensorBoard and the report alike."""
