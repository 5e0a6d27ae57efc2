"""Task inference: encode clips, select demonstrations, prompt the frozen LLM and read its output."""
