"""MLflow: runs, data sets and models, sent from a run's outbox; notifications."""
