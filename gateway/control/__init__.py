"""Decides nothing by itself: checks what operators ask for, keeps it, and makes the server follow."""
