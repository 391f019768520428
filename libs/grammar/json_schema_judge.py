# Judges values with a validator of its own, for json_schema_corpus_test. The argument is a file with
# a line for each schema: {"name": ..., "schema": text, "values": [text, ...]}. Prints a line for
# each value that does not fit, and last how many were looked at.
import json
import re
import sys
from decimal import Decimal

import jsonschema

try:
    import referencing
except ImportError:
    referencing = None


def load(text):
    # Binary fractions would make 0.3 no multiple of 0.1.
    return json.loads(text, parse_float=Decimal)


def is_integer(checker, value):
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, Decimal) and value == value.to_integral_value())


class Ecma:
    """Python's re for the modules of jsonschema, reading patterns as ECMAScript does."""

    PIECES = {"$": r"\Z", ".": "[^\n\r\u2028\u2029]"}
    CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": r"\s\ufeff"}

    @staticmethod
    def translate(pattern):
        out, within = [], False
        for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
            if piece[0] == "\\" and piece[1] in Ecma.CLASSES:
                name = Ecma.CLASSES[piece[1]]
                piece = name if within else "[" + name + "]"
            elif not within:
                piece = Ecma.PIECES.get(piece, piece)
            within = piece == "[" or (within and piece != "]")
            out.append(piece)
        return "".join(out)

    @staticmethod
    def search(pattern, string, flags=0):
        return re.search(Ecma.translate(pattern), string, flags)

    def __getattr__(self, name):
        return getattr(re, name)


for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith("jsonschema.") and hasattr(module, "re"):
        module.re = Ecma()


def refuse(address):
    raise ValueError("not fetched: " + address)


def judge(entry):
    schema = load(entry["schema"])
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    kind = jsonschema.validators.extend(
        kind,
        type_checker=kind.TYPE_CHECKER.redefine("integer", is_integer),
    )
    # Nothing is fetched.
    if referencing:
        references = {"registry": referencing.Registry()}
    else:
        resolver = jsonschema.RefResolver.from_schema(
            schema, handlers={"http": refuse, "https": refuse}
        )
        references = {"resolver": resolver}
    formats = getattr(kind, "FORMAT_CHECKER", jsonschema.FormatChecker())
    validator = kind(schema, format_checker=formats, **references)
    for text in entry["values"]:
        error = next(validator.iter_errors(load(text)), None)
        if error is not None:
            line = " ".join(["bad:", entry["name"], text[:600], "##", error.message[:200]])
            print(line.replace("\n", " ").replace("\r", " "))


def main():
    values = skipped = 0
    for line in open(sys.argv[1], encoding="utf-8"):
        entry = json.loads(line)
        try:
            judge(entry)
            values += len(entry["values"])
        except Exception as error:  # a reference that it cannot follow, a pattern it cannot read
            skipped += 1
            print("skipped:", entry["name"], type(error).__name__, str(error)[:100])
    print("judged", values, "values,", skipped, "schemas skipped")


main()
