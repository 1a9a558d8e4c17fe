"""Private parts of Ray, torch and MLflow: one file a trick, each optional."""
