"""Which anchor points are trained to find which box.

An assigner is a settings dataclass (`settings.py`) and a function of the same name whose own part is only which
anchor points are candidates and what each costs each box; `matcher.match` does the rest for all of them.
"""
