"""The commands of `rayox data`."""
