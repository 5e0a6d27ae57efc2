"""Frozen encoders of clips, and the soft levels that their features give."""
