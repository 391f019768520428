#include "grammar/corpora_testing.h"

#include <fstream>

namespace chimera {
namespace {

// Lark's parsers judge terminals as wholes, so its side uses characters wherever that matters.
constexpr EbnfPair kEbnfPairs[] = {
    {"root ::= [ab]* 'c'", "start: (\"a\"|\"b\")* \"c\"", "abc"},
    {"root ::= 'a'{2,4} 'b'{3} 'c'{0,2}", "start: \"a\"~2..4 \"b\"~3 \"c\"~0..2", "abc"},
    {"root ::= '(' root ')' | root root | 'x'", "start: \"(\" start \")\" | start start | \"x\"",
     "()x"},
    {"root ::= e\ne ::= e '+' t | t\nt ::= t '*' f | f\nf ::= '(' e ')' | [0-9]+",
     "start: e\ne: e \"+\" t | t\nt: t \"*\" f | f\nf: \"(\" e \")\" | D+\nD: /[0-9]/", "()+*12"},
    {"root ::= a\na ::= b 'x' | 'z'\nb ::= a 'y' | 'w'",
     "start: a\na: b \"x\" | \"z\"\nb: a \"y\" | \"w\"", "xyzw"},
    {"root ::= s? root 'y' | 'z'\ns ::= 's'", "start: s? start \"y\" | \"z\"\ns: \"s\"", "syz"},
    {"root ::= ('ab' | 'a' | 'b')* 'abab'", "start: (\"ab\" | \"a\" | \"b\")* \"abab\"", "ab"},
    {"root ::= item (',' item)*\nitem ::= [a-z]+ ('=' [0-9]{1,3})?",
     "start: item (\",\" item)*\nitem: L+ (\"=\" D~1..3)?\nL: /[a-z]/\nD: /[0-9]/", "a,=1"},
    {"root ::= 'a' root 'b' | 'c'?", "start: \"a\" start \"b\" | \"c\"?", "abc"},
    {"root ::= ('a' 'b'?){2,3} ('b' | 'c')+", "start: (\"a\" \"b\"?)~2..3 (\"b\" | \"c\")+", "abc"},
    {"root ::= [^x] . 'x'", "start: /[^x]/ /[^\\n]/ \"x\"", "xy\n"},
    {"root ::= p\np ::= 'a' p 'a' | 'b' p 'b' | 'a' | 'b' | ''",
     "start: p\np: \"a\" p \"a\" | \"b\" p \"b\" | \"a\" | \"b\" |", "ab"},
    {"root ::= 'if' c 'then' root ('else' root)? | 's'\nc ::= c '&' c | 't'",
     "start: \"if\" c \"then\" start (\"else\" start)? | \"s\"\nc: c \"&\" c | \"t\"", "ifthnels&"},
    {"root ::= /[ab]*a[ab]/ ';'", "start: /[ab]/* \"a\" /[ab]/ \";\"", "ab;"},
    {"root ::= (('a' | '') 'b'*)+ 'c'", "start: ((\"a\" | ) \"b\"*)+ \"c\"", "abc"},
    {"root ::= x y\nx ::= x 'a' | ''\ny ::= 'b' y | y 'c' | 'd'",
     "start: x y\nx: x \"a\" |\ny: \"b\" y | y \"c\" | \"d\"", "abcd"},
};

}  // namespace

std::span<const EbnfPair> EbnfPairs() { return kEbnfPairs; }

std::vector<CorpusSchema> SchemaCorpus() {
  std::vector<CorpusSchema> entries;
  std::ifstream file(std::string(CHIMERA_DATA_DIR) + "/json_schemas.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto entry = nlohmann::ordered_json::parse(line);
    entries.push_back({entry["name"].get<std::string>(), entry["schema"].dump(), entry["tests"]});
  }
  return entries;
}

}  // namespace chimera
