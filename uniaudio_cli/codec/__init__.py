"""The codec: audio in the LLM's own words and back."""
