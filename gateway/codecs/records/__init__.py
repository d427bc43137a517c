"""Stream records: bytes of whole batches to columns, columns to a model's inputs, columns to bytes."""
