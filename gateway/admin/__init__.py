"""The side entrance: models, spend, explanations, health and metrics over FastAPI. Nothing here is on the hot path."""
