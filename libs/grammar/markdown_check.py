# Judges Markdown with markdown-it, a CommonMark parser apart from our own machine:
#   python3 markdown_check.py CASES
# CASES has one JSON object a line, {"text": ...}. The answer to each is a line of JSON: "open", what
# is wrong with its code blocks, or ""; "inline", the same for code spans, links, tables and what
# stands in the blocks, which only generated text answers for; "fences", [name, text] of each block.
import io
import json
import re
import sys
import tokenize

from markdown_it import MarkdownIt

ESCAPED, OTHER = "\ue000", "\ue001"
MARKER = "marker paragraph"


def escape(state, silent):
    at = state.pos
    if state.src[at] != "\\":
        return False
    if not re.match(r"[!-/:-@\[-`{-~]", state.src[at + 1:at + 2]):
        return False
    if not silent:
        state.pending += ESCAPED
    state.pos += 2
    return True


parser = MarkdownIt("commonmark").enable("table")
parser.inline.ruler.at("escape", escape)


def inline_fault(token):
    breaks = ("softbreak", "hardbreak")
    text = "".join("\n" if child.type in breaks else
                   child.content if child.type == "text" else OTHER
                   for child in token.children)
    if "`" in text:
        return "code span: " + text
    for line in text.split("\n"):
        depth = 0
        for at, char in enumerate(line):
            if char == "[":
                depth += 1
            elif char == "]" and depth > 0:
                depth -= 1
                rest = line[at + 1:]
                if rest.startswith("(") and rest.count(")") < rest.count("("):
                    return "target: " + line
        if depth > 0:
            return "bracket: " + line
    return ""


def cells(row):
    row = re.sub(r"\\.", "", row[row.index("|") + 1:].rstrip(" "))
    return row.count("|") + (0 if row.endswith("|") or row == "" else 1)


def table_fault(token, lines):
    rows = lines[token.map[0]:token.map[1]]
    if any("|" not in row for row in rows) or len({cells(row) for row in rows}) != 1:
        return "table: " + repr(rows)
    return ""


# What Python itself says of a text within.
def code_fault(name, text):
    try:
        if name == "json":
            json.loads(text)
        elif name in ("py", "python", "python3"):
            for _ in tokenize.generate_tokens(io.StringIO(text).readline):
                pass
    except (tokenize.TokenError, SyntaxError, ValueError) as error:
        return "%s: %s" % (name, error)
    return ""


def judge(case):
    text = re.sub(r"\r\n?", "\n", case["text"]) + "\n\n" + MARKER + "\n"
    lines = text.split("\n")
    tokens = parser.parse(text)
    answer = {"open": "", "inline": "", "fences": []}
    for token in tokens:
        if token.type == "fence":
            first, last = token.map
            if token.content.count("\n") != last - first - 2:
                answer["open"] = "fence of line %d" % first
            name = (token.info.split() or [""])[0].lower()
            answer["fences"].append([name, token.content])
            answer["inline"] = answer["inline"] or code_fault(name, token.content)
        elif token.type == "inline":
            answer["inline"] = answer["inline"] or inline_fault(token)
        elif token.type == "table_open":
            answer["inline"] = answer["inline"] or table_fault(token, lines)
    if tokens[-1].type != "paragraph_close" or tokens[-1].level != 0:
        answer["inline"] = answer["inline"] or "the end is inside " + tokens[-1].type
    return answer


def main():
    with open(sys.argv[1], encoding="utf-8") as cases:
        for line in cases:
            print(json.dumps(judge(json.loads(line))))


main()
