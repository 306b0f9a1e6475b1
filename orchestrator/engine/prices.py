#!/usr/bin/env python3
"""Makes prices.yaml from the price list in the litellm package (MIT).

    pip download litellm --no-deps && unzip litellm-*.whl 'litellm/model_prices*'
    python3 prices.py VERSION litellm/model_prices_and_context_window_backup.json > prices.yaml
"""
import json
import re
import sys

PROVIDERS = {"anthropic", "openai", "gemini", "deepseek", "dashscope", "xai", "mistral", "moonshot"}
OTHER = re.compile(r"audio|realtime|search|tts|image|vision|^ft:|preview-\d|exp|beta|embed|moderation|latest|lyria|voxtral|robotics|omni|research|gemma|container|multi-agent")
DATED = re.compile(r"(-\d{4}-\d{2}-\d{2}|-\d{8}|-\d{4})$")


def per_million(value):
    return round(value * 1e6, 6)


def main():
    version, path = sys.argv[1:]
    models = {}
    for name, facts in json.load(open(path)).items():
        if facts.get("litellm_provider") not in PROVIDERS or facts.get("mode") not in ("chat", "responses"):
            continue
        name = name.rsplit("/", 1)[-1].lower()
        if OTHER.search(name) or DATED.search(name) or name in models:
            continue
        if not facts.get("input_cost_per_token") or not facts.get("output_cost_per_token"):
            continue
        price = {"input": facts["input_cost_per_token"], "output": facts["output_cost_per_token"]}
        if facts.get("cache_read_input_token_cost"):
            price["cache_read"] = facts["cache_read_input_token_cost"]
        if facts.get("cache_creation_input_token_cost"):
            price["cache_write"] = facts["cache_creation_input_token_cost"]
        models[name] = {key: per_million(value) for key, value in price.items()}
    print("# US dollars for a million tokens, list prices, of models whose CLIs do not tell what they cost. Made by prices.py")
    print(f"# from the price list of litellm {version} (MIT). Surcharges for long contexts and discounts are not in it: an")
    print("# estimate is an estimate, and `cost_source` says so.")
    print("models:")
    for name in sorted(models):
        prices = ", ".join(f"{key}: {value:g}" for key, value in models[name].items())
        print(f"  {name}: {{{prices}}}")


main()
