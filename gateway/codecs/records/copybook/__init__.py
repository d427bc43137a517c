"""COBOL copybooks: what a record's bytes mean, and those bytes to columns and back."""
