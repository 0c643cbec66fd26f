"""How JPEG's coefficients are named, for those who compute with them and those who only show them."""

BLOCK = 8
"""Side of a block in pixels."""

CHANNELS = ("Y", "Cb", "Cr")
"""The planes that an image is stored in, in their order."""
