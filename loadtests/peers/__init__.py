"""Other servers with the same model, each in an environment of its own."""
