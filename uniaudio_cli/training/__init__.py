"""Training the codec: audio folders in, a checkpoint out."""
