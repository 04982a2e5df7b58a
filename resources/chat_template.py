# SPDX-License-Identifier: Apache-2.0
"""Renders a chat template as transformers does: started by the engine, one JSON object on standard input, one on standard
output. The template is nobody's friend: it runs in jinja2's immutable sandbox, under limits of memory and time (the
engine ends this process after 10 s), and no part of it reaches the command line.

In:  {"template": source, "messages": [[role, content], …], "variables": {…}, "arguments": {…}} or {"probe": true}
Out: {"text": …, "segments": [[begin, end, message or null], …] in bytes} or {"error": kind, "message": …, "line": n}
"""
import json
import os
import resource
import sys

MEMORY, SECONDS = 1 << 30, 10


def limit(content_bytes):
    memory = MEMORY + 16 * content_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(500)


def answer(value):
    sys.stdout.buffer.write(json.dumps(value).encode())
    sys.stdout.buffer.flush()
    os._exit(0)


def make_environment():
    """transformers' settings: utils/chat_template_utils.py."""
    import datetime

    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """{% generation %} … {% endgeneration %} marks what the model wrote; the text is that of its body."""
        tags = {"generation"}

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(str(message))

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    # The day of the run, as transformers has it: the prompt depends on it, and the record keeps the prompt.
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def outside(core, inner):
    """Characters on each side that lie outside the marks: none, or, where a template looks at how contents begin and end,
    a third of them."""
    return len(core) // 3 if inner else 0


def with_marks(messages, marks, inner):
    """Contents with a mark at the beginning and at the end of what is not white space, or further inside."""
    out = []
    for i, message in enumerate(messages):
        content = message["content"]
        core = content.strip()
        if core:
            before = content[:len(content) - len(content.lstrip())]
            behind = content[len(content.rstrip()):]
            k = outside(core, inner)
            core = core[:k] + marks(i, False) + core[k:len(core) - k] + marks(i, True) + core[len(core) - k:]
            content = before + core + behind
        out.append({**message, "content": content})
    return out


def marked_segments(text, marked, nonce):
    """Where the marks stand in `marked`, as places in `text`; nothing where the marks changed what was rendered."""
    pieces = marked.split(nonce)
    plain, segments = "", []
    current = None
    for i, piece in enumerate(pieces):
        if i > 0:  # "<digits>b" or "<digits>e" and the nonce's end
            head, _, piece = piece.partition(";")
            if not head[:-1].isdigit():
                return None
            number, end = int(head[:-1]), head.endswith("e")
            if end != (current is not None) or (end and current[0] != number):
                return None
            if end:
                segments.append([current[1], len(plain), number])
                current = None
            else:
                current = (number, len(plain))
        plain += piece
    return segments if plain == text and current is None else None


def widened(text, segments, messages, inner):
    """From the marks to the ends of the contents; nothing where those are not there."""
    out = []
    for begin, end, number in segments:
        core = messages[number]["content"].strip()
        k = outside(core, inner)
        if text[max(begin - k, 0):begin] != core[:k] or text[end:end + k] != core[len(core) - k:]:
            return None
        if out and begin - k < out[-1][1]:
            return None
        out.append([begin - k, end + k, number])
    return out


def skeleton_segments(text, skeleton, messages, words):
    """Contents put in place of the words that stood for them; nothing where that does not give `text`."""
    variants = [lambda t: t, str.strip, str.lstrip, str.rstrip]
    for variant in variants:
        plain, segments, at = "", [], 0
        while True:
            found = min(((skeleton.find(word, at), i) for i, word in words.items() if skeleton.find(word, at) >= 0),
                        default=None)
            if found is None:
                break
            begin, number = found
            plain += skeleton[at:begin]
            content = variant(messages[number]["content"])
            segments.append([len(plain), len(plain) + len(content), number])
            plain += content
            at = begin + len(words[number])
        if plain + skeleton[at:] == text:
            return segments
    return None


def locate(render, messages, text):
    """Which parts of `text` are contents. They are literal: what looks like a control token in them is none."""
    if not any(message["content"].strip() for message in messages):
        return []
    secret = os.urandom(12).hex()
    nonce = "\ue000" + secret
    for inner in (False, True):
        marked = render(with_marks(messages, lambda i, end: f"{nonce}{i}{'e' if end else 'b'};", inner))
        segments = marked_segments(text, marked, nonce) if marked is not None else None
        segments = widened(text, segments, messages, inner) if segments is not None else None
        if segments is not None:
            break
    else:
        words = {i: f"w{secret}n{i}w" for i, message in enumerate(messages) if message["content"].strip()}
        skeleton = render([{**message, "content": words.get(i, message["content"])} for i, message in enumerate(messages)])
        segments = skeleton_segments(text, skeleton, messages, words) if skeleton is not None else None
    if segments is None:
        return None
    if {number for _, _, number in segments} != {i for i, m in enumerate(messages) if m["content"].strip()}:
        # A content that the template left out altogether is nowhere; one of which only a part is there cannot be told.
        missing = [m["content"].strip() for i, m in enumerate(messages)
                   if m["content"].strip() and i not in {number for _, _, number in segments}]
        if any(len(part) > 3 and part in text for part in missing):
            return None
    out = []
    for begin, end, number in segments:  # the white space around is the content's, too, as far as it is there
        content = messages[number]["content"]
        before = content[:len(content) - len(content.lstrip())]
        behind = content[len(content.rstrip()):]
        core = text[begin:end] == content.strip()
        floor = out[-1][1] if out else 0
        if core and before and text[:begin].endswith(before) and begin - len(before) >= floor:
            begin -= len(before)
        if core and behind and text.startswith(behind, end):
            end += len(behind)
        out.append([begin, end, number])
    return out


def in_bytes(text, segments):
    """All of `text` as [begin, end, message or None] in bytes."""
    out, done, byte = [], 0, 0

    def put(end, number):
        nonlocal done, byte
        if end > done:
            size = len(text[done:end].encode())
            out.append([byte, byte + size, number])
            byte += size
            done = end

    for begin, end, number in segments:
        put(begin, None)
        put(end, number)
    put(len(text), None)
    return out


def line_of(error):
    """The template's line in which it was raised."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def main():
    raw = sys.stdin.buffer.read()
    job = json.loads(raw)
    try:
        environment = make_environment()
    except ImportError:
        answer({"error": "no jinja2", "message": ""})
    import jinja2
    import jinja2.meta
    if job.get("probe"):
        answer({"text": jinja2.__version__, "segments": []})
    limit(len(raw))
    messages = [{"role": role, "content": content} for role, content in job["messages"]]
    try:
        used = jinja2.meta.find_undeclared_variables(environment.parse(job["template"]))
        for name in job["arguments"]:
            if name not in used:
                answer({"error": "argument", "message": name, "used": sorted(used)[:32]})
        template = environment.from_string(job["template"])

        def render(with_messages):
            return template.render(messages=with_messages, tools=None, documents=None, add_generation_prompt=True,
                                   **{**job["variables"], **job["arguments"]})

        def try_render(with_messages):
            try:
                return render(with_messages)
            except (jinja2.exceptions.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
                return None  # the marks are not what the template expects: the other way, or none

        text = render(messages)
        if len(text) > job["most"]:
            answer({"error": "limit", "message": "writes too much text"})
        segments = locate(try_render, messages, text)
        if segments is None:
            answer({"error": "contents", "message": ""})
        answer({"text": text, "segments": in_bytes(text, segments)})
    except MemoryError:
        answer({"error": "limit", "message": "needs too much memory"})
    except RecursionError:
        answer({"error": "limit", "message": "calls itself too deeply"})
    except jinja2.exceptions.TemplateSyntaxError as error:
        answer({"error": "syntax", "message": str(error.message)[:2000], "line": error.lineno})
    except jinja2.exceptions.SecurityError as error:
        answer({"error": "sandbox", "message": str(error)[:2000], "line": line_of(error)})
    except jinja2.exceptions.UndefinedError as error:
        answer({"error": "undefined", "message": str(error)[:2000], "line": line_of(error)})
    except jinja2.exceptions.TemplateError as error:
        answer({"error": "raised", "message": str(error)[:2000], "line": line_of(error)})
    except Exception as error:
        answer({"error": "failed", "message": f"{type(error).__name__}: {error}"[:2000], "line": line_of(error)})


main()
