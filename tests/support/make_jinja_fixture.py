#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chat prompts as transformers renders them, of templates that are not ChatML: writes tests/tokenizer/jinja_prompts.json.

A list of {template, messages, arguments, text}. The templates are ours, with what those of the families do: Gemma's turns
with the system message in the first one, Llama's headers with a date, Mistral's [INST], Qwen 3's thoughts.
"""
import json
import pathlib

import tokenizers
import transformers

TEMPLATES = {
    "turns": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] | trim + '\\n\\n' -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set first = '' -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate") }}
    {%- endif -%}
    {{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' + (first if loop.first else '') }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}
""",
    "headers": """{% set date = date if date is defined else 'today' %}
{{- bos_token }}
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|head|>system<|end_head|>\\n\\nDate: ' + date + '<|eot|>' }}
    {%- endif %}
    {{- '<|head|>' ~ message.role ~ '<|end_head|>\\n\\n' ~ message.content.strip() ~ '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|head|>assistant<|end_head|>\\n\\n' }}{%- endif %}""",
    "inst": """{% for message in messages %}
{% if message.role == 'system' %}{% continue %}{% endif %}
{% if message.role == 'user' %}
[INST] {% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}{{ message.content }} [/INST]
{%- else %}
 {% generation %}{{ message.content + eos_token }}{% endgeneration %}
{% endif %}
{% endfor %}""",
    "thoughts": """{%- for message in messages %}
    {%- set text = message.content %}
    {%- if message.role == 'assistant' and '</think>' in text %}
        {%- set text = text.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "json": "{% for m in messages %}{{ m | tojson }}|{{ {'x': m.content} | tojson(indent=2) }}{% endfor %}",
    "lines": "{% for m in messages if m.content %}\n  {# a note #}\n  {{ m.role }}: {{ m.content }}\n  {% if not loop.last %}\n--\n  {% endif %}\n{% endfor %}\n",
    "starts": "{% for m in messages %}{% if m.content.startswith('/') %}!{% endif %}<{{ m.content }}>{% endfor %}",
}
USER = {"role": "user", "content": "Hello"}
CHATS = [
    [USER],
    [{"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": "  two\nlines <end_of_turn> é😀 \n"}],
    [{"role": "user", "content": "user"}, {"role": "assistant", "content": "<|eot|>b"}, {"role": "user", "content": "user"}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "/go \"now\" 'x' \\ & <b>"}],
]

rows = []
for name, template in TEMPLATES.items():
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()),
                                                     bos_token="<bos>", eos_token="<eos>")
    tokenizer.chat_template = template
    for chat in CHATS:
        for arguments in ({}, {"enable_thinking": False}, {"date": "1 May"}):
            if arguments and list(arguments)[0] not in template:
                continue
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **arguments)
            rows.append({"name": name, "template": template, "messages": chat, "arguments": arguments, "text": text})
out = pathlib.Path(__file__).resolve().parent.parent / "tokenizer/jinja_prompts.json"
out.write_text(json.dumps(rows, ensure_ascii=False, indent=0) + "\n")
print(len(rows), "prompts, transformers", transformers.__version__)
