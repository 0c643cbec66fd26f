"""How JPEG's coefficients are named, for those who compute with them and those who only show them."""

BLOCK = 8
"""Side of a block in pixels."""

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue have in Y: ITU-R BT.601."""

CHANNELS = ("Y", "Cb", "Cr")
"""The planes that an image is stored in, in their order."""
