"""Language models in GGUF on llama.cpp: prompts, sampling, and answers token by token."""
