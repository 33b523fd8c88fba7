"""The prompts of vision models whose files came before chat templates did."""

# Contents begin with the marks of their pictures (prompts.py), which end in U+E001.
_PARTS = """\
{%- macro pictures(content, then) %}
    {%- set marks = content[:content.rfind('\ue001') + 1] %}
    {{- marks + then if marks else "" }}
{%- endmacro %}
{%- macro words(content) %}{{ content[content.rfind('\ue001') + 1:] }}{% endmacro %}
"""
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
# LLaVA 1.5 and 1.6 on Vicuna (conv_vicuna_v1 in https://github.com/haotian-liu/LLaVA)
_VICUNA = (
    f"""\
{{%- if messages[0].role == 'system' %}}{{{{ messages[0].content }}}}
{{%- else %}}{{{{ "{_SYSTEM}" }}}}{{% endif %}}
"""
    + """\
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- " USER: " + pictures(m.content, "\\n") + words(m.content) }}
    {%- elif m.role == 'assistant' %}
        {{- " ASSISTANT: " + m.content + eos_token }}
    {%- endif %}
{%- endfor %}
{{- " ASSISTANT:" if add_generation_prompt else "" }}
"""
)
# LLaVA 1.6 on Mistral (conv_mistral_instruct)
_MISTRAL = """\
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- "[INST] " + pictures(m.content, "\\n") + words(m.content) }}
        {{- " [/INST]" }}
    {%- elif m.role == 'assistant' %}
        {{- " " + m.content + eos_token }}
    {%- endif %}
{%- endfor %}
"""
# https://github.com/vikhyat/moondream
_MOONDREAM = """\
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- pictures(m.content, "\\n\\n") }}
        {{- "Question: " + words(m.content) + "\\n\\nAnswer:" }}
    {%- elif m.role == 'assistant' %}
        {{- " " + m.content + "\\n\\n" }}
    {%- endif %}
{%- endfor %}
"""


def template_for(architecture: str, name: str) -> str:
    """The chat template of a vision model that has none of its own, by its file's general.
    architecture and general.name; empty where it is not known."""
    if architecture == "phi2" or "moondream" in name.lower():
        return _PARTS + _MOONDREAM
    if architecture == "llama":
        return _PARTS + (_MISTRAL if "mistral" in name.lower() else _VICUNA)
    return ""
