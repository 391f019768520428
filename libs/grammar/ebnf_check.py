"""Judges texts with Lark's Earley parser, apart from our own machine: ebnf_check.py CASES

CASES has one JSON object a line: {"grammar": in Lark's notation, "text": ...}. The answer to each
is one line: "in", "out", or what is wrong with the grammar.
"""

import json
import sys

import lark

PARSERS = {}


def parser_of(grammar):
    if grammar not in PARSERS:
        # Every length of every terminal is tried: terminals may overlap.
        PARSERS[grammar] = lark.Lark(grammar, parser="earley", lexer="dynamic_complete")
    return PARSERS[grammar]


def judge(case):
    try:
        parser = parser_of(case["grammar"])
    except lark.exceptions.LarkError as error:
        return "grammar: " + str(error).replace("\n", " ")
    try:
        parser.parse(case["text"])
    except lark.exceptions.UnexpectedInput:
        return "out"
    return "in"


def main():
    with open(sys.argv[1], encoding="utf-8") as cases:
        for line in cases:
            print(judge(json.loads(line)))


if __name__ == "__main__":
    main()
