"""Manifests of clusters that rayox runs on, made from a few values and valid by their tools' own schemas."""
