"""Folders and object stores: where files lie, how they are read, retried and cached, and what their errors mean."""
