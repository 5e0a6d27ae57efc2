"""The frozen LLM: loading, prefill and scoring, grammars and constrained decoding."""
