"""Speech to text by Whisper on CTranslate2: what is speech, in which windows, and what was said."""
