"""Errors, paths and settings that every other package uses."""
