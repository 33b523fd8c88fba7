"""Prompts through llama-cpp-python, as its own documentation does it: one JSON list of answers."""

import json
import sys
from pathlib import Path


def main() -> None:
    from llama_cpp import Llama

    told = json.loads(sys.argv[1])
    model = Llama(
        told["model"],
        n_ctx=told["context"],
        n_threads=told["threads"],
        n_threads_batch=told["threads"],
        verbose=False,
    )
    how = {"temperature": 0, "max_tokens": told["tokens"], "repeat_penalty": 1.0}
    answers = []
    for prompt in Path(told["prompts"]).read_text().splitlines():
        if told["clear"]:
            model.reset()
            model._ctx.kv_cache_clear()
        if told["system"] is None:
            answers.append(model.create_completion(prompt, **how)["choices"][0]["text"])
            continue
        turns = [{"role": "system", "content": told["system"]}, {"role": "user", "content": prompt}]
        answer = model.create_chat_completion(turns, **how)
        answers.append(answer["choices"][0]["message"]["content"])
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
