"""What every room knows: tensors, requests, errors, and the contracts between rooms. Standard library and numpy only."""
