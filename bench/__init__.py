"""Zero-shot evaluation of CLIP encoders under image compression."""
