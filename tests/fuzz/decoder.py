"""What a client hears, by docs/protocol.md alone. One case a line: CAP HEX; one line of JSON out: [what, id, hex]."""
import json
import re
import sys

NAMED = re.compile(r"(.*) request_id=(?!@)([!#-\[\]-~]{1,128})", re.S)
END = re.compile(r"done|error|error: .*", re.S)
JSON_ENDS = {"ok": "ok", "error": "error", "part": "part", "accepted": "accepted", "running": "running"}


def once(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def answer(text):
    found = json.loads(text, object_pairs_hook=once)
    number = found.get("request_id")
    carried = found.get("result", found.get("part"))
    return [JSON_ENDS[found["status"]], None if number is None else str(number), json.dumps(carried, sort_keys=True)]


def foreign(text):
    if text[:1] == "{" and text[-1:] == "}":
        try:
            found = json.loads(text, object_pairs_hook=once)
            return "status" in found and "request_id" in found
        except ValueError:
            return False
    return END.fullmatch((NAMED.fullmatch(text) or [0, text])[1]) is not None


def hear(text):
    if text[:1] == "{" and text[-1:] == "}":
        try:
            return answer(text)
        except (ValueError, KeyError):
            return ["fault", None, ""]
    named = NAMED.fullmatch(text)
    body, name = (named[1], named[2]) if named else (text, None)
    if END.fullmatch(body):
        return ["why" if body[:7] == "error: " else body, name, body[7:]]
    bare = body.lstrip("\\")
    escaped = bare != body and (END.fullmatch(bare) or (name is None and foreign(bare)))
    return ["line", name, body[1:] if escaped else body]


for case in sys.stdin:
    cap, data = case.split(" ")
    heard = []
    for line in bytes.fromhex(data).split(b"\n")[:-1]:
        try:
            what, name, text = hear(line.decode()) if len(line) <= int(cap) else ("long", None, str(len(line)))
        except UnicodeDecodeError:
            what, name, text = "fault", None, ""
        heard.append([what, name, text.encode().hex()])
    print(json.dumps(heard))
