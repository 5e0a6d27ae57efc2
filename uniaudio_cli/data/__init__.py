"""Labelled clips: manifests, demonstrations, episodes."""
