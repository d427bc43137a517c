"""A stream as its file says: read, checked against its model, built, and tried on cases."""
