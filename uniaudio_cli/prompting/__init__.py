"""Tasks, prompt templates, prompts and the vocabulary that writes audio as tokens."""
