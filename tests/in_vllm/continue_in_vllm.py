"""What vLLM makes of checkpoints; runs in vLLM's environment, without this package.

    python continue_in_vllm.py ASKED.json ANSWERED.json

ASKED.json: {"checkpoint": a folder, "adapter": a folder or null, "dtype": of the weights, "images": paths,
"ids": the prompt with one id for each image, "tokens": how many to add}. ANSWERED.json: {"prompt": its ids
with as many for an image as it takes, "ids": the likeliest tokens, "logprobs": of these}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
}


def main(asked_file: str, answered_file: str) -> None:
    os.environ.update(SETTINGS)
    from PIL import Image
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    asked = json.loads(Path(asked_file).read_text())
    images = [Image.open(path).convert("RGB") for path in asked["images"]]
    adapter = LoRARequest("adapter", 1, asked["adapter"]) if asked["adapter"] else None
    model = LLM(
        asked["checkpoint"],
        dtype=asked["dtype"],
        enforce_eager=True,
        max_model_len=2048,
        max_num_seqs=2,
        limit_mm_per_prompt={"image": len(images), "video": 0},
        generation_config="vllm",
        enable_lora=adapter is not None,
    )
    wanted = SamplingParams(temperature=0, max_tokens=asked["tokens"], logprobs=0, ignore_eos=True)
    prompt = {"prompt_token_ids": asked["ids"], "multi_modal_data": {"image": images}}
    (result,) = model.generate([prompt], wanted, lora_request=adapter, use_tqdm=False)
    ids = list(result.outputs[0].token_ids)
    steps = zip(result.outputs[0].logprobs, ids, strict=True)
    answered = {
        "prompt": list(result.prompt_token_ids),
        "ids": ids,
        "logprobs": [step[token].logprob for step, token in steps],
    }
    Path(answered_file).write_text(json.dumps(answered))


if __name__ == "__main__":
    main(*sys.argv[1:])
