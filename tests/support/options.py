"""Command line options that many tests share."""

# Drawing takes nine tenths of the time of a test on a few small images.
WITHOUT_PICTURES = "--trainer.callbacks=[callbacks.ResultsWriter]"
