"""Chat, and questions about pictures, by llama.cpp: from messages to the text of an answer."""
