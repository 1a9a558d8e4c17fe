"""What a cluster has and a training takes of it, and what its processes import beforehand."""
