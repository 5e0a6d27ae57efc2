"""Audio files, crops and levels, spectral features, prosody."""
