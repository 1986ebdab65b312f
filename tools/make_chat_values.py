#!/usr/bin/env python3
"""Writes test/text/chat/<template>.jsonl: conversations and what the published chat template <template>.jinja makes of
them, rendered by transformers. Usage: tools/make_chat_values.py FOLDER_OF_JINJA_FILES OUTPUT_FOLDER
Needs: pip install transformers jinja2. The templates themselves stay with their models.
"""
import json
import os
import sys

from transformers.utils.chat_template_utils import render_jinja_template

source, folder = sys.argv[1:3]
TOKENS = {"gemma3": ("<bos>", "<eos>"), "llama3": ("<|begin_of_text|>", "<|eot_id|>")}
TOOL = {"type": "function", "function": {"name": "find", "description": "Finds \"é\" & <b>\n\ttabs\u2028 /\\ \u0001",
                                         "parameters": {"type": "object", "properties": {
                                             "k": {"type": "integer", "default": 3, "minimum": -1.5, "maximum": 1e22,
                                                   "step": 1e-07, "x": 0.1, "y": 100000.0, "z": 123456.789e3},
                                             "flags": {"enum": [True, False, None, [], {}]}}, "required": []}}}
CALL = {"type": "function", "function": {"name": "find", "arguments": {"k": 2, "q": "naïve \"x\""}}}


def said(*turns, **more):
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "d": "developer"}
    return {"messages": [{"role": roles[r], "content": c} for r, c in turns], **more}


CHATS = [
    said(("u", "Hello!")), said(("s", "Be terse."), ("u", "What is 2+2?")), said(("u", "")), said(("s", ""), ("u", "x")),
    said(("u", "q1"), ("a", "a1"), ("u", "q2")), said(("s", "S"), ("u", "q1"), ("a", "a1"), ("u", "q2"), ("a", "a2")),
    said(("u", "  spaces \n\n"), ("a", "\n ok\t")), said(("u", "\u00a0\u3000trim\u2028\u001f")), said(("u", "Ü 你好 👩\u200d👩 {{ x }}")),
    said(("u", "x"), ("u", "y")), said(("u", "x"), ("s", "late"), ("u", "y")), said(("d", "dev"), ("u", "y")),
    said(("u", "a"), ("a", "<think>\n\nhm\n</think>\n\nanswer")), said(("u", "a"), ("a", "<think>x</think>b"), ("u", "c")),
    said(("u", "a"), ("a", "no</think>\n\nb</think>c")), said(("u", "a"), ("a", "\n\nb\n")),
    said(("u", "Hi"), tools=[TOOL]), said(("s", "Use it."), ("u", "Hi"), tools=[TOOL, TOOL]), said(("u", "Hi"), tools=[]),
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
                  {"role": "tool", "content": "r1"}, {"role": "tool", "content": "r2"},
                  {"role": "assistant", "content": "done"}], "tools": [TOOL]},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "let me see", "tool_calls": [CALL["function"]]},
                  {"role": "tool", "content": "r1"}, {"role": "user", "content": "and?"}]},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": "\nwhy\n"}]},
    {"messages": [{"role": "user", "content": "<tool_response>x</tool_response>"}, {"role": "assistant", "content": "<think>t</think>a"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "image"}, {"type": "text", "text": "b"}]}]},
    {"messages": []}, {"messages": [{"role": "user"}]}, {"messages": [{"role": "user", "content": None}]},
]


def main():
    os.makedirs(folder, exist_ok=True)
    for name in sorted(f[:-6] for f in os.listdir(source) if f.endswith(".jinja")):
        with open("%s/%s.jinja" % (source, name), encoding="utf-8", newline="") as file:
            template = file.read()
        bos, eos = TOKENS.get(name, ("<s>", "</s>"))
        with open("%s/%s.jsonl" % (folder, name), "w", encoding="utf-8", newline="\n") as out:
            for chat in CHATS:
                for prompt in (True, False):
                    try:
                        text = render_jinja_template([chat["messages"]], tools=chat.get("tools"), chat_template=template,
                                                     add_generation_prompt=prompt, bos_token=bos, eos_token=eos)[0][0]
                    except Exception:
                        text = None
                    out.write(json.dumps({**chat, "add_generation_prompt": prompt, "text": text}) + "\n")


main()
