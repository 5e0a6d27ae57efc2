"""Frozen encoders: pretrained networks whose outputs teach, judge or describe clips, and their soft levels."""
