"""Judges LaTeX with pylatexenc, apart from our own machine: math_latex_check.py CASES

CASES has one JSON object a line: {"text": ...} or {"file": ...}. The answer to each is one line,
"ok" or what is wrong: groups, formulas and environments by pylatexenc's strict walker,
and \\left..\\right pairs, each within one list of its nodes.
"""

import json
import sys

from pylatexenc import latexwalker, macrospec

# Other macros have no arguments here: that one is missing is no question of ours.
MACROS = macrospec.LatexContextDb()
MACROS.add_context_category(
    "verbatim",
    macros=[macrospec.MacroSpec("verb", macrospec.VerbatimArgsParser("verb-macro"))],
    environments=[
        macrospec.EnvironmentSpec("verbatim", macrospec.VerbatimArgsParser("verbatim-environment"))
    ],
)
MACROS.set_unknown_macro_spec(macrospec.MacroSpec(""))
MACROS.set_unknown_environment_spec(macrospec.EnvironmentSpec(""))


def judge_nodes(nodes, formula):
    depth = 0
    for node in nodes:
        if node is None:
            continue
        if node.isNodeType(latexwalker.LatexMacroNode):
            depth += {"left": 1, "right": -1}.get(node.macroname, 0)
            if depth < 0:
                return "right without left"
            children = node.nodeargd.argnlist if node.nodeargd and node.nodeargd.argnlist else []
        elif node.isNodeType(latexwalker.LatexMathNode):
            if formula:
                return "formula in a formula"
            children = node.nodelist
        elif hasattr(node, "nodelist"):
            children = node.nodelist
        else:
            continue
        within = node.isNodeType(latexwalker.LatexMathNode)
        answer = judge_nodes(children, within)
        if answer != "ok":
            return answer
    return "ok" if depth == 0 else "left without right"


def judge(line):
    case = json.loads(line)
    text = case["text"] if "text" in case else open(case["file"], encoding="utf-8").read()
    walker = latexwalker.LatexWalker(text, tolerant_parsing=False, latex_context=MACROS)
    try:
        nodes, _, _ = walker.get_latex_nodes()
    except latexwalker.LatexWalkerError as error:
        return "open: " + str(error).split("\n")[0]
    return judge_nodes(nodes, False)


def main():
    with open(sys.argv[1], encoding="utf-8", newline="\n") as lines:
        for line in lines:
            print(judge(line))


main()
