"""The control state in PostgreSQL, for several machines. Needs the extra `sluice[postgresql]`."""
