"""`lightning export`: every view's own bytes, written once."""
