"""Where runs are kept: a folder that every machine has, or a bucket of an object store; nothing else knows which."""
