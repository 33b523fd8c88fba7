"""What loads weights, and the tasks that such weights are for."""

# files of single-image super-resolution
DEFAULT_ENGINE = "mediakit.engines.upscaler:load"
# folders in the layout of diffusers, and checkpoints of the families that it knows
DIFFUSION_ENGINE = "mediakit.engines.diffusion.engine:load"
DIFFUSION_TASKS = ("generate", "img2img", "inpaint")
# folders that are a Whisper model of CTranslate2
WHISPER_ENGINE = "mediakit.engines.whisper.engine:load"
WHISPER_TASKS = ("transcribe",)
# files in GGUF, which nothing else reads
LLAMA_ENGINE = "mediakit.engines.llama.engine:load"
LLAMA_TASKS = ("chat", "caption")
# folders of transformers that are a captioner
CAPTION_ENGINE = "mediakit.engines.caption.transformers:load"
CAPTION_TASKS = ("caption",)

WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".param", ".gguf", ".onnx"})
"""Suffixes of files that hold some."""
