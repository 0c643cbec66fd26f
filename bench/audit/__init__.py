"""Which images have a hidden compression in their past: evidence from headers and pixels, without any encoder."""
