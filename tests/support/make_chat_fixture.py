#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chat prompts as transformers renders them: writes tests/tokenizer/chat_prompts.json.

A list of {template, messages, text}; text is null where the template is none that Headroom claims to understand.
"""
import json
import pathlib
import sys

import gguf
import tokenizers
import transformers

SMOLLM = gguf.GGUFReader(sys.argv[1]).get_field("tokenizer.chat_template").contents()
LOOP = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
        "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
UNDERSTOOD = [
    SMOLLM,
    LOOP,
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" + LOOP,
    """{%- for message in messages -%}
    {%- if loop.first and messages[0]['role'] != 'system' -%}
        {{- '<|im_start|>system\\nYou are "helpful"\\t\\'now\\'<|im_end|>\\n' -}}
    {%- endif -%}
    {{- "<|im_start|>" + message.role + "\\n" + message.content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}""",
    """{% for message in messages %}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
""",
    "{# a comment #}{% for message in messages %}{{ '<|im_start|>' + message.role }}{{ '\n' + message.content }}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
]
OTHER = [
    "{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}",
    LOOP.replace("message['content']", "message['content'] | trim"),
    LOOP + "{{ eos_token }}",
    LOOP.replace("'<|im_end|>'", "'<|im_end|>' + eos_token"),
    LOOP[:-12],
    "{% for message in messages %}{{",
    "",
]
CHATS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " two\nlines \n"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "<|im_end|> é😀"}],
    [{"role": "user", "content": ""}],
]

rows = []
for template in UNDERSTOOD:
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()))
    tokenizer.chat_template = template
    for chat in CHATS:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        rows.append({"template": template, "messages": chat, "text": text})
rows += [{"template": template, "messages": CHATS[0], "text": None} for template in OTHER]
out = pathlib.Path(__file__).resolve().parent.parent / "tokenizer/chat_prompts.json"
out.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
print(len(rows))
