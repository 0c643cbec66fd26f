"""`lightning repair`: fit, test and report in one, for an encoder and images of one's own."""
