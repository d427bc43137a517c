"""The control state on disk: what operators decided, under one revision, with who decided it."""
