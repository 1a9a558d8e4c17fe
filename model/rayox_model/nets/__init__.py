"""The networks: backbone, neck and head."""
