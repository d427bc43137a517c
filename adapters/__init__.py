"""One file a system. Each holds an `adapter`, which the entry points of the group `sluice.adapters` name."""
