"""Which schedulers there are by the field's names, and which of them a model can use."""

from collections.abc import Mapping
from typing import Any

# Set to False, since a model's own configuration may have them on
_PLAIN = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_KARRAS = _PLAIN | {"use_karras_sigmas": True}
_ODE, _SDE = {"algorithm_type": "dpmsolver++"}, {"algorithm_type": "sde-dpmsolver++"}

# name -> (class of diffusers, settings that override the model's own). The names are those of
# A1111 and ComfyUI, the pairs those of diffusers' "Schedulers" overview.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "euler": ("EulerDiscreteScheduler", _PLAIN),
    "euler-karras": ("EulerDiscreteScheduler", _KARRAS),
    "euler-trailing": ("EulerDiscreteScheduler", _PLAIN | {"timestep_spacing": "trailing"}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", _PLAIN),
    "dpm++2m": ("DPMSolverMultistepScheduler", _PLAIN | _ODE),
    "dpm++2m-karras": ("DPMSolverMultistepScheduler", _KARRAS | _ODE),
    "dpm++2m-sde": ("DPMSolverMultistepScheduler", _PLAIN | _SDE),
    "dpm++2m-sde-karras": ("DPMSolverMultistepScheduler", _KARRAS | _SDE),
    "dpm++sde": ("DPMSolverSinglestepScheduler", _PLAIN | _SDE),
    "dpm++sde-karras": ("DPMSolverSinglestepScheduler", _KARRAS | _SDE),
    "unipc": ("UniPCMultistepScheduler", _PLAIN),
    "unipc-karras": ("UniPCMultistepScheduler", _KARRAS),
    "deis": ("DEISMultistepScheduler", _PLAIN),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
# Flow-matching models go by other noise: of the names only this one is theirs.
FLOW_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": False}),
}
# Classes whose step takes eta, the share of fresh noise (DDIM, arXiv:2010.02502; TCD's gamma)
TAKES_ETA = ("DDIMScheduler", "TCDScheduler")
# Defaults of diffusers that latent models never want, where a configuration doesn't say:
# predictions are clipped to -1 ... 1, which is no range of latents.
_LATENT = {"clip_sample": False, "set_alpha_to_one": False, "thresholding": False}


def known(flow: bool) -> Mapping[str, tuple[str, dict[str, Any]]]:
    return FLOW_SCHEDULERS if flow else SCHEDULERS


def settings(own: Mapping[str, Any], name: str, flow: bool) -> tuple[str, dict[str, Any]]:
    """The class and configuration of a scheduler for a model whose own configuration is `own`:
    prediction type, noise schedule and spacing of timesteps stay the model's."""
    kind, changes = known(flow)[name]
    return kind, {**_LATENT, **own, **changes}
