"""Conversations in the form of OpenAI's chat completions: what is sent, and what a reply says.

Nothing here speaks to a server. Pictures are sent as PNG at the size at which the model sees them, so that
the server's own resizing leaves them as they are. The frames of a video are sent as pictures, each after its
time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pixelreasoner.chat.calls import CALL_OPEN, last_boxed
from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.families import CallSyntax
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.pixels import resized
from pixelreasoner.chat.qwen import THOUGHT_END, THOUGHT_START
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.chat.xml_calls import FUNCTION, XML_CALLS
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Media, Picture
from pixelreasoner.core.messages import Message, Parsed
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.endpoint.pictures import png_url
from pixelreasoner.endpoint.reply import NativeCall, Reply
from pixelreasoner.endpoint.requests import ChatMessage, text_part

Tools = Sequence[Mapping[str, Any]]
"""Function descriptions in the OpenAI form."""
ONLY_FIRST = "only the first call of a message is carried out"


# ------------------------------------------------------------------------------------------------ sending


def opening(
    messages: Sequence[Message], tools: Tools, chat_format: ChatFormat, vision: VisionSpec
) -> list[ChatMessage]:
    """The messages of a prompt; `tools` are those that its words have to describe."""
    out: list[ChatMessage] = []
    system = "".join(m.text for m in messages if m.role == "system")
    if tools:
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        system = (system + chat_format.tools.replace("{tools}", listed)).lstrip()
    if system:
        out.append({"role": "system", "content": system})
    for message in messages:
        if message.role == "assistant":
            out.append({"role": "assistant", "content": message.text})
        elif message.role != "system":
            role = chat_format.observation_role if message.role == "tool" else message.role
            content = _parts(message.parts, chat_format, vision, crop=message.role == "tool")
            out.append({"role": role, "content": content})
    return out


def said(reply: Reply) -> ChatMessage:
    """The model's own message, to be sent back in the next request."""
    message: ChatMessage = {"role": "assistant", "content": reply.content}
    if reply.reasoning:
        message[reply.reasoning_field] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in reply.calls
        ]
    return message


def shown(
    observation: Observation, reply: Reply, turn: int, chat_format: ChatFormat, vision: VisionSpec
) -> list[ChatMessage]:
    """The messages with what an operation returned, after the reply that asked for it.

    Each native call gets an answer in the role `tool`, as the protocol demands. Where the recipe wants
    results in the role `user`, the pictures follow in a message of their own.
    """
    pictures = [_picture(p, vision.size_of(p, crop=True)) for p in observation.images]
    text = text_part(observation.text)
    as_tool = chat_format.observation_role == "tool"
    if not reply.calls:
        message: ChatMessage = {"role": chat_format.observation_role, "content": [text, *pictures]}
        return [message | ({"tool_call_id": f"call_{turn}"} if as_tool else {})]
    first, *further = reply.calls
    content = [text, *pictures] if as_tool and pictures else observation.text
    out: list[ChatMessage] = [{"role": "tool", "tool_call_id": first.id, "content": content}]
    refusal = chat_format.error_reply.format(error=ONLY_FIRST)
    out += [{"role": "tool", "tool_call_id": call.id, "content": refusal} for call in further]
    return out if as_tool or not pictures else [*out, {"role": "user", "content": pictures}]


def _parts(
    parts: Sequence[str | Media], chat_format: ChatFormat, vision: VisionSpec, *, crop: bool
) -> list[ChatMessage]:
    out: list[ChatMessage] = []
    for part in parts:
        if isinstance(part, str):
            out.append(text_part(part))
        elif isinstance(part, Picture):
            out.append(_picture(part, vision.size_of(part, crop=crop)))
        else:
            size = vision.frame_size(part)
            for number, (frame, seconds) in enumerate(zip(part.frames, part.times_s, strict=True), start=1):
                marker = chat_format.frame_marker.format(first=number, last=number, seconds=seconds)
                out += [text_part(marker), _picture(frame, size)]
    return out


def _picture(picture: Picture, size: Size) -> ChatMessage:
    """A picture at the size it is seen at, without loss."""
    url = png_url(Picture(resized(picture, size))).decode()
    return {"type": "image_url", "image_url": {"url": url}}


# ------------------------------------------------------------------------------------------------ reading


def text_of(reply: Reply, syntax: CallSyntax) -> str:
    """The message as a person reads it: thoughts between their tags, the words, the calls as text."""
    thoughts = f"{THOUGHT_START}\n{reply.reasoning.strip()}\n{THOUGHT_END}\n\n" if reply.reasoning else ""
    calls = [_written(call, syntax) for call in reply.calls]
    return thoughts + "\n".join(filter(None, [reply.content, *calls]))


def _written(call: NativeCall, syntax: CallSyntax) -> str:
    read = HERMES.parse(call.text).call
    return call.text if read is None else syntax.format(read)


def parse(reply: Reply, tools: Tools) -> Parsed:
    """What a reply says; never raises.

    Native calls come first. Without one, a call is looked for in the words, in either syntax: a server
    without a parser leaves it there. Thoughts that the server took out hold no call, but may hold the answer.
    """
    if reply.calls:
        calls = HERMES.parse("".join(call.text for call in reply.calls))
        return replace(calls, text=reply.content.strip(), n_further_calls=len(reply.calls) - 1)
    body = reply.content.partition(CALL_OPEN)[2].lstrip()
    parsed = (XML_CALLS if body.startswith(FUNCTION) else HERMES).parse(reply.content, tools)
    if parsed.call is None and parsed.call_error is None and parsed.answer is None:
        return replace(parsed, answer=last_boxed(reply.reasoning))
    return parsed
