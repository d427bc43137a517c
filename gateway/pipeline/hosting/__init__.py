"""The streams of one process: which of them it runs, and what is told of them."""
