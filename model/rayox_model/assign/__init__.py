"""Which anchor points are trained to find which box.

An assigner is a settings dataclass, one of the kinds in `settings.Assigner`, and a function of the same name. Those
that weigh costs share `matcher.match`; which anchor points are near a box is in `candidates`.
"""
