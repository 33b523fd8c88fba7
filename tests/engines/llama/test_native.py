"""llama.cpp's functions without the rest of llama-cpp-python."""

import subprocess
import sys

SCRIPT = """
import sys
from mediakit.engines.llama.native import multimodal, native
vision = multimodal()
print(*(name in sys.modules for name in ("llama_cpp", "jinja2", "llama_cpp.llama")))
import llama_cpp
print(llama_cpp.llama_token_data is native.llama_token_data, llama_cpp.Llama.__name__)
from llama_cpp import llama_cpp as ours, mtmd_cpp
print(ours is native, mtmd_cpp is vision)
"""


def test_the_package_is_left_out_and_whole_afterwards() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert said.stdout.splitlines() == ["False False False", "True Llama", "True True"], said.stderr
