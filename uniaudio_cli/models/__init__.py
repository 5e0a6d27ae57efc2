"""Presets, downloads and conversion of models."""
