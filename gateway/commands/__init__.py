"""What `sluice` can be asked to do, one command a file. None is imported before it is called."""
