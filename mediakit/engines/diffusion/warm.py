"""What every diffusion model needs of the libraries, imported when this module is."""

from importlib import import_module

from mediakit.heap import uncollected

_EVERY = (
    "mediakit.engines.diffusion.engine",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.pipelines.pipeline_utils",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
)

with uncollected():
    for name in _EVERY:
        import_module(name)
