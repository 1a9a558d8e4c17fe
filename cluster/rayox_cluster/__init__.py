"""Machines: starting and connecting to Ray."""
