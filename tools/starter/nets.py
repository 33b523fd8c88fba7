"""What the starter model is made of: the sizes of its three networks and its noise schedule."""

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .draw import SIDE

LATENT_SIDE = SIDE // 4  # 16 x 16 x 4: at 8 x 8 the autoencoder learns ten times slower
TEXT_WIDTH = 96


def autoencoder() -> AutoencoderKL:
    """0.4 M parameters. One norm group: with more, flat pictures lose their colour."""
    return AutoencoderKL(
        block_out_channels=(16, 24, 48),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        sample_size=SIDE,
        mid_block_add_attention=False,
        scaling_factor=1.0,  # the last thing training does is to make the latents' deviation 1
    )


def unet() -> UNet2DConditionModel:
    """5 M parameters; attention only at 8 x 8 and 4 x 4, where it is cheap."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(48, 96, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=16,
    )


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """CLIP's text half, two layers; the usual 77 tokens, so that tools for prompts fit."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=256,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def scheduler() -> DDIMScheduler:
    """v-prediction and zero terminal SNR (arXiv 2305.08891): else no picture is black or white."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
