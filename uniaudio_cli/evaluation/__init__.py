"""Evaluation: episodes, systems and controls, metrics, judges, results and comparison."""
