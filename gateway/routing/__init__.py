"""Chooses who gets the traffic."""
