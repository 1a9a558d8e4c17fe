"""All of rayox that needs Ray or MLflow: configuration, data, training, evaluation and tracking."""
