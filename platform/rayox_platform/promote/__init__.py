"""From a run to a champion: the gate that measures, the signed bundle, the commit and the way back."""
