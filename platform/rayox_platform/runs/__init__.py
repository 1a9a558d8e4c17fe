"""Runs on their storage, a folder or a bucket: home, checkpoints, events, outbox, lock and garbage."""
