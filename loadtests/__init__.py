"""Load tests: Sluice beside the limits of its parts, beside its peers, and under reloads."""
