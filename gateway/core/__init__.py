"""What every room knows: tensors, requests, errors, and the contracts between rooms. Of libraries only numpy."""
