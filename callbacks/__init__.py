"""Lightning callbacks that turn a test run into files and TensorBoard pages."""
