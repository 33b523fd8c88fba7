"""What A1111, and programs that write like it, call the schedulers."""

# ours -> A1111's sampler and schedule type; "Automatic" is what a sampler has by itself there
# (modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py, sd_schedulers.py)
SCHEDULERS: dict[str, tuple[str, str]] = {
    "ddim": ("DDIM", "Automatic"),
    "ddpm": ("DDPM", "Automatic"),
    "pndm": ("PLMS", "Automatic"),
    "euler": ("Euler", "Automatic"),
    "euler-karras": ("Euler", "Karras"),
    "euler-trailing": ("Euler", "SGM Uniform"),
    "euler-a": ("Euler a", "Automatic"),
    "heun": ("Heun", "Automatic"),
    "dpm++2m": ("DPM++ 2M", "Uniform"),
    "dpm++2m-karras": ("DPM++ 2M", "Karras"),
    "dpm++sde": ("DPM++ SDE", "Uniform"),
    "dpm++sde-karras": ("DPM++ SDE", "Karras"),
    "dpm++2m-sde": ("DPM++ 2M SDE", "Uniform"),
    "dpm++2m-sde-karras": ("DPM++ 2M SDE", "Karras"),
    "unipc": ("UniPC", "Automatic"),
    "unipc-karras": ("UniPC", "Karras"),
    "deis": ("DEIS", "Automatic"),
    "lcm": ("LCM", "Automatic"),
    "tcd": ("TCD", "Automatic"),
}
# what "Automatic" is for samplers that have another schedule of their own than the uniform one
_AUTOMATIC = {
    "dpm++ 2m": "Karras", "dpm++ sde": "Karras", "dpm++ 2m sde": "Exponential",
}  # fmt: skip
# k-diffusion's and ComfyUI's names -> A1111's
_OTHER = {
    "k_euler": "Euler", "k_euler_a": "Euler a", "euler_ancestral": "Euler a", "k_heun": "Heun",
    "k_dpmpp_2m": "DPM++ 2M", "dpmpp_2m": "DPM++ 2M", "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m_sde": "DPM++ 2M SDE", "uni_pc": "UniPC", "uni_pc_bh2": "UniPC", "pndm": "PLMS",
}  # fmt: skip
_GPU = "_gpu"  # ComfyUI's variants that draw noise on the GPU
_OWN = ("Karras", "SGM Uniform")  # that are not what a sampler has by itself
_SCHEDULES = {"normal": "Uniform", "uniform": "Uniform", "karras": "Karras", "automatic": "",
              "sgm uniform": "SGM Uniform"}  # fmt: skip


def names(scheduler: str) -> tuple[str, str]:
    """A1111's "Sampler" and "Schedule type" of one of ours; an unknown name is left as it is."""
    return SCHEDULERS.get(scheduler, (scheduler, ""))


def scheduler(sampler: str, schedule: str = "") -> str | None:
    """Ours, of "DPM++ 2M" with "Karras" beside it, or of "DPM++ 2M Karras", as it was written
    until 2024; None for a sampler or schedule that we don't have."""
    name = " ".join(sampler.split())
    for word in (" karras", "_karras"):
        if name.lower().endswith(word):
            name, schedule = name[: -len(word)], "Karras"
            break
    else:  # without a schedule it is of a time when the plain name meant the plain one
        schedule = schedule or "Uniform"
    name = _OTHER.get(name.lower().removesuffix(_GPU), name).lower()
    kind = _SCHEDULES.get(schedule.strip().lower(), schedule.strip().lower())
    kind = kind or _AUTOMATIC.get(name, "Uniform")
    for ours, (theirs, type_) in SCHEDULERS.items():
        if theirs.lower() == name and (type_ if type_ in _OWN else "Uniform") == kind:
            return ours
    return None
