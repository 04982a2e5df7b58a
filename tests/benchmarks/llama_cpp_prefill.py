# SPDX-License-Identifier: Apache-2.0
"""Times prefill of one prompt in llama.cpp for `headroom bench --llama-cpp PYTHON`, through llama-cpp-python.

One JSON object on standard input: {"probe": true}, or {"model": FILE, "ids": [...], "threads": N, "repeats": N,
"warmup": N}. One JSON object a line on standard output: {"version": V} for a probe, else for flash attention on and off
{"flash_attention": true|false, "ms": [...]} or {"flash_attention": ..., "error": TEXT}. From ids to the first token's id.
"""

import json
import os
import sys
import time


def measure(request, flash_attention):
    from llama_cpp import Llama

    ids = request["ids"]
    model = Llama(
        model_path=request["model"],
        n_ctx=(len(ids) + 16 + 255) // 256 * 256,
        n_threads=request["threads"],
        n_threads_batch=request["threads"],
        n_gpu_layers=0,
        flash_attn=flash_attention,
        verbose=False,
    )
    times = []
    for prompt in [ids[: request["warmup"]]] + [ids] * request["repeats"]:
        model.reset()
        start = time.perf_counter()
        model.eval(prompt)
        model.sample(temp=0.0)
        times.append((time.perf_counter() - start) * 1000)
    model.close()
    return times[1:]


def main():
    # Whatever the library prints must not stand between our lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    if request.get("probe"):
        import llama_cpp

        answer({"version": llama_cpp.__version__})
        return
    for flash_attention in (True, False):
        try:
            answer({"flash_attention": flash_attention, "ms": measure(request, flash_attention)})
        except Exception as error:  # the other variant may still run
            answer({"flash_attention": flash_attention, "error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    main()
