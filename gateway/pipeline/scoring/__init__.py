"""Records to results: decoded, mapped, scored and encoded, a batch at a time."""
