"""The HTTP API and the page of `uniaudio serve`."""
