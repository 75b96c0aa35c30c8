"""Trainers of the two models, and of both together."""
