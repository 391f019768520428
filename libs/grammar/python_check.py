"""What Python itself says of texts: an oracle for the python mode.

python_check.py generated|checked BATCH   one line a text: "ok" or what is wrong
python_check.py corpus N                  up to N files of the library that compile (0: all)

BATCH holds, for each text, its length in decimal, a line feed and its bytes. `checked` asks for
what every text must have; `generated` adds numbers and f-strings as later versions read them.
"""

import io
import os
import random
import sys
import sysconfig
import tokenize
import warnings

CLOSERS = {")": "(", "]": "[", "}": "{"}


def check_tokens(data):
    stack, depth = [], 0
    for token in tokenize.tokenize(io.BytesIO(data).readline):
        # A blank is one before a character that begins no name.
        if token.type == tokenize.ERRORTOKEN and token.string.isascii() and token.string.strip():
            return "error token %r" % token.string
        if token.type == tokenize.INDENT:
            depth += 1
        elif token.type == tokenize.DEDENT:
            depth -= 1
        elif token.type == tokenize.OP and token.string in "([{":
            stack.append(token.string)
        elif token.type == tokenize.OP and token.string in CLOSERS:
            if not stack or stack.pop() != CLOSERS[token.string]:
                return "bracket %r" % token.string
    if stack or depth:
        return "open: %r, %d blocks" % (stack, depth)
    return None


def check_blocks(data):
    """A line is deeper than the one before exactly after a ':'."""
    last, colon, indented = None, False, False
    skipped = {tokenize.NL, tokenize.COMMENT, tokenize.ENCODING, tokenize.DEDENT}
    for token in tokenize.tokenize(io.BytesIO(data).readline):
        if token.type in skipped:
            continue
        if token.type == tokenize.INDENT:
            if not colon:
                return "a block without ':'"
            indented = True
            continue
        if colon and not indented:
            return "':' without a block"
        colon = token.type == tokenize.NEWLINE and last == ":"
        indented = False
        last = token.string
    return None


def scan_field(text, at, spec_allowed):
    """Index after the '}' of a replacement field that begins at `at`; raises ValueError."""
    stack, quote = [], None
    while at < len(text):
        char = text[at]
        if quote:
            quote = None if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            stack.append(char)
        elif char == "}" and not stack:
            return at + 1
        elif char in ")]}":
            if not stack or stack.pop() != CLOSERS[char]:
                raise ValueError("bracket in a field")
        elif char == ":" and not stack:
            if not spec_allowed:
                raise ValueError("spec in a spec")
            at += 1
            while at < len(text) and text[at] != "}":
                at = scan_field(text, at + 1, False) if text[at] == "{" else at + 1
            if at == len(text):
                raise ValueError("open spec")
            return at + 1
        elif char in "\\#":
            raise ValueError("%r in a field" % char)
        at += 1
    raise ValueError("open field")


def check_format_string(token):
    prefix = token[: min(token.find("'") % 1000000, token.find('"') % 1000000)]
    if "f" not in prefix.lower():
        return
    body = token[len(prefix):]
    body = body[3:-3] if body[:3] in ('"""', "'''") and len(body) >= 6 else body[1:-1]
    at = 0
    while at < len(body):
        two = body[at:at + 2]
        if two in ("{{", "}}"):
            at += 2
        elif body[at] == "}":
            raise ValueError("single '}'")
        elif body[at] == "{":
            at = scan_field(body, at + 1, True)
        else:
            at += 2 if body[at] == "\\" else 1


def check_generated(data):
    text = data.decode()
    for token in tokenize.tokenize(io.BytesIO(data).readline):
        if token.type == tokenize.ERRORTOKEN:
            return "error token"
        if token.type == tokenize.STRING:
            check_format_string(token.string)
    if hasattr(tokenize, "_generate_tokens_from_c_tokenizer"):
        for _ in tokenize._generate_tokens_from_c_tokenizer(text):
            pass
    return check_blocks(data)


def verdict(data, kind):
    try:
        fault = check_tokens(data)
        if fault is None and kind == "generated":
            fault = check_generated(data)
        return fault or "ok"
    except (tokenize.TokenError, SyntaxError, ValueError) as error:
        return "%s: %s" % (type(error).__name__, error)


def read_batch(path):
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        length = int(data[at:end])
        yield data[end + 1:end + 1 + length]
        at = end + 1 + length


def accepted(path):
    try:
        with open(path, "rb") as file:
            data = file.read()
        if tokenize.detect_encoding(io.BytesIO(data).readline)[0] not in ("utf-8", "utf-8-sig"):
            return False
        compile(data, path, "exec", dont_inherit=True)
        return check_tokens(data) is None
    except (tokenize.TokenError, SyntaxError, ValueError, OSError):
        return False


def corpus(count):
    paths = []
    for folder, _, names in os.walk(sysconfig.get_paths()["stdlib"]):
        paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    paths.sort()
    random.Random(1).shuffle(paths)
    for path in paths:
        if accepted(path):
            print(path)
            count -= 1
            if count == 0:
                break


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1] == "corpus":
        corpus(int(sys.argv[2]))
        return
    for text in read_batch(sys.argv[2]):
        print(verdict(text, sys.argv[1]).replace("\n", " "))


main()
