#include "grammar/ebnf_parse.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/ebnf.h"
#include "grammar/rules.h"
#include "grammar/text_cursor.h"

namespace chimera {
namespace {

constexpr int kQuantifiersMax = 4;

class EbnfParser : private TextCursor {
 public:
  explicit EbnfParser(std::string_view text) : TextCursor(text) {}

  absl::StatusOr<std::vector<EbnfRule>> Parse() {
    std::vector<EbnfRule> rules;
    std::set<std::string> names;
    for (SkipSpace(); !AtEnd(); SkipSpace()) {
      if (rules.size() >= kEbnfRulesMax) {
        return absl::ResourceExhaustedError(
            absl::StrCat("a grammar of more than ", kEbnfRulesMax, " rules"));
      }
      EbnfRule& rule = rules.emplace_back();
      rule.at = at_;
      rule.name = TakeName();
      if (rule.name.empty()) return Fault("a rule begins with its name");
      if (!names.insert(rule.name).second) {
        at_ = rule.at;
        return Fault("rule " + rule.name + " is defined twice");
      }
      SkipSpace();
      if (!TakeDefines()) return Fault("::= is missing behind " + rule.name);
      CHIMERA_ASSIGN_OR_RETURN(rule.body, Choice());
      SkipSpace();
      Take(";");
      if (SkipSpace(); !AtEnd() && (Peek() == ')' || Peek() == '|')) {
        return Fault("a ) without a (");
      }
    }
    return rules;
  }

 private:
  absl::Status Fault(std::string_view what) const { return EbnfFault(text_, at_, what); }

  // White space and comments.
  void SkipSpace() {
    while (!AtEnd()) {
      if (absl::ascii_isspace(static_cast<unsigned char>(Peek()))) {
        ++at_;
      } else if (Peek() == '#' || text_.substr(at_, 2) == "//") {
        while (!AtEnd() && Peek() != '\n') ++at_;
      } else {
        return;
      }
    }
  }
  std::string TakeName() {
    const size_t begin = at_;
    const auto starts = [](char c) {
      return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_';
    };
    const auto goes_on = [&](char c) {
      return starts(c) || c == '-' || absl::ascii_isdigit(static_cast<unsigned char>(c));
    };
    if (!AtEnd() && starts(Peek())) {
      while (!AtEnd() && goes_on(Peek())) ++at_;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }
  bool TakeDefines() { return Take("::=") || Take(":=") || Take("=") || Take(":"); }

  absl::StatusOr<EbnfNode> Choice() {
    if (++depth_ > kEbnfDepthMax) {
      return Fault("groups nest deeper than " + std::to_string(kEbnfDepthMax));
    }
    EbnfNode choice{.kind = EbnfNode::Kind::kChoice};
    choice.at = at_;
    do {
      CHIMERA_RETURN_IF_ERROR(CountPart());
      CHIMERA_ASSIGN_OR_RETURN(choice.parts.emplace_back(), Sequence());
    } while (Take("|"));
    --depth_;
    if (choice.parts.size() == 1) return std::move(choice.parts[0]);
    return choice;
  }

  absl::StatusOr<EbnfNode> Sequence() {
    EbnfNode sequence;
    sequence.at = at_;
    for (SkipSpace(); !SequenceEnds(); SkipSpace()) {
      CHIMERA_RETURN_IF_ERROR(CountPart());
      CHIMERA_ASSIGN_OR_RETURN(EbnfNode item, Item());
      CHIMERA_ASSIGN_OR_RETURN(sequence.parts.emplace_back(), Quantified(std::move(item)));
    }
    return sequence;
  }

  absl::Status CountPart() {
    if (++parts_ <= kEbnfPartsMax) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("a grammar of more than ", kEbnfPartsMax, " parts, the limit"));
  }

  // Up to the end of the choice around it, or the next rule.
  bool SequenceEnds() {
    if (AtEnd() || Peek() == '|' || Peek() == ')' || Peek() == ';') return true;
    const size_t begin = at_;
    bool next_rule = false;
    if (!TakeName().empty()) {
      SkipSpace();
      next_rule = TakeDefines();
    }
    at_ = begin;
    return next_rule;
  }

  absl::StatusOr<EbnfNode> Quantified(EbnfNode item) {
    for (int i = 0;; ++i) {
      SkipSpace();
      EbnfNode repeat{.kind = EbnfNode::Kind::kRepeat};
      repeat.at = at_;
      CHIMERA_ASSIGN_OR_RETURN(const bool found, Quantifier(&repeat.min, &repeat.max));
      if (!found) return item;
      if (i == kQuantifiersMax) return Fault("too many quantifiers in a row");
      repeat.parts.push_back(std::move(item));
      item = std::move(repeat);
    }
  }

  absl::StatusOr<bool> Quantifier(uint32_t* min, uint32_t* max) {
    if (Take("?")) {
      *min = 0;
    } else if (Take("*")) {
      *min = 0;
      *max = kUnbounded;
    } else if (Take("+")) {
      *max = kUnbounded;
    } else if (Take("{")) {
      CHIMERA_ASSIGN_OR_RETURN(*min, Number());
      *max = *min;
      SkipSpace();
      if (Take(",")) {
        SkipSpace();
        *max = kUnbounded;
        if (!AtEnd() && Peek() != '}') {
          CHIMERA_ASSIGN_OR_RETURN(*max, Number());
        }
        SkipSpace();
      }
      if (!Take("}")) return Fault("a { without its }");
      if (*max < *min) return Fault("a repetition with max < min");
    } else {
      return false;
    }
    return true;
  }

  absl::StatusOr<uint32_t> Number() {
    SkipSpace();
    const size_t begin = at_;
    uint64_t value = 0;
    for (; !AtEnd() && absl::ascii_isdigit(static_cast<unsigned char>(Peek())); ++at_) {
      value = std::min<uint64_t>(value * 10 + uint64_t(Peek() - '0'), 1u << 31);
    }
    if (at_ == begin) return Fault("a number is missing");
    if (value > kEbnfRepeatMax) {
      return Fault("a repetition of more than " + std::to_string(kEbnfRepeatMax));
    }
    return static_cast<uint32_t>(value);
  }

  absl::StatusOr<EbnfNode> Item() {
    EbnfNode node;
    node.at = at_;
    if (Take("(")) {
      CHIMERA_ASSIGN_OR_RETURN(node, Choice());
      if (!Take(")")) return Fault("a ( without its )");
      return node;
    }
    if (Take("%json")) {
      node.kind = EbnfNode::Kind::kJson;
      CHIMERA_ASSIGN_OR_RETURN(node.text, Braces());
      return node;
    }
    if (Peek() == '"' || Peek() == '\'') {
      node.kind = EbnfNode::Kind::kText;
      CHIMERA_ASSIGN_OR_RETURN(node.text, Literal());
      return node;
    }
    if (Peek() == '/') {
      node.kind = EbnfNode::Kind::kRegex;
      CHIMERA_ASSIGN_OR_RETURN(node.text, Slashes());
      return node;
    }
    node.kind = EbnfNode::Kind::kSet;
    if (Take("[")) {
      CHIMERA_ASSIGN_OR_RETURN(node.set, Class());
      return node;
    }
    if (Take(".")) {
      node.set = CodePointSet({{'\n', '\n'}}).Negated();
      return node;
    }
    node.kind = EbnfNode::Kind::kRule;
    node.text = TakeName();
    if (node.text.empty()) return Fault("a literal, class, group or name is missing here");
    return node;
  }

  absl::StatusOr<std::string> Literal() {
    const char quote = Peek();
    std::string text;
    for (++at_; !AtEnd() && Peek() != quote;) {
      if (Peek() == '\n') break;
      CHIMERA_ASSIGN_OR_RETURN(const uint32_t c, Character());
      AppendUtf8(c, &text);
    }
    if (!Take(std::string_view(&quote, 1))) return Fault("a literal does not end");
    if (!AtEnd() && Peek() == 'i' && !NameFollows()) {
      return Fault("literals of any case are not supported: write a class for each letter");
    }
    return text;
  }
  bool NameFollows() const {
    return at_ + 1 < text_.size() &&
           (absl::ascii_isalnum(static_cast<unsigned char>(text_[at_ + 1])) ||
            text_[at_ + 1] == '_' || text_[at_ + 1] == '-');
  }

  absl::StatusOr<CodePointSet> Class() {
    const bool negated = Take("^");
    CodePointSet set;
    while (!AtEnd() && Peek() != ']') {
      CHIMERA_ASSIGN_OR_RETURN(const uint32_t low, Character());
      uint32_t high = low;
      if (text_.size() - at_ >= 2 && Peek() == '-' && text_[at_ + 1] != ']') {
        ++at_;
        CHIMERA_ASSIGN_OR_RETURN(high, Character());
        if (high < low) return Fault("a range that runs backwards");
      }
      set.Add(low, high);
    }
    if (!Take("]")) return Fault("a [ without its ]");
    return negated ? set.Negated() : set;
  }

  // One character of a literal or class, escapes resolved.
  absl::StatusOr<uint32_t> Character() {
    if (!Take("\\")) return TakeCodePoint();
    if (AtEnd()) return Fault("a backslash at the end");
    const char c = text_[at_++];
    constexpr std::string_view kNames = "nrtfb0", kValues("\n\r\t\f\b\0", 6);
    if (const size_t i = kNames.find(c); i != std::string_view::npos) {
      return static_cast<uint32_t>(kValues[i]);
    }
    if (c == 'x') return Hexadecimal(2);
    if (c == 'u') return Hexadecimal(4);
    if (c == 'U') return Hexadecimal(8);
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      return Fault(std::string("escape \\") + c + " is not known");
    }
    --at_;
    return TakeCodePoint();
  }

  absl::StatusOr<uint32_t> Hexadecimal(size_t digits) {
    uint32_t value = 0;
    if (!TakeHex(digits, &value)) return Fault("a hexadecimal digit is missing");
    if (value > kCodePointMax || (value >= 0xD800 && value <= 0xDFFF)) {
      return Fault("this is no character");
    }
    return value;
  }

  static void AppendUtf8(uint32_t c, std::string* text) {
    for (const Utf8Sequence& row : Utf8Sequences({{c, c}})) {
      for (int i = 0; i < row.size; ++i) text->push_back(static_cast<char>(row.bytes[i].low));
    }
  }

  // A regular expression up to its closing slash; \/ is a slash.
  absl::StatusOr<std::string> Slashes() {
    std::string pattern;
    for (++at_; !AtEnd() && Peek() != '/' && Peek() != '\n'; ++at_) {
      if (Peek() == '\\' && at_ + 1 < text_.size()) {
        if (text_[at_ + 1] != '/') pattern.push_back('\\');
        ++at_;
      }
      pattern.push_back(Peek());
    }
    if (!Take("/")) return Fault("a regular expression does not end");
    return pattern;
  }

  // A JSON object: up to the } that matches, strings apart.
  absl::StatusOr<std::string> Braces() {
    SkipSpace();
    const size_t begin = at_;
    int open = 0;
    bool in_string = false;
    for (; !AtEnd(); ++at_) {
      const char c = Peek();
      if (in_string) {
        if (c == '\\' && at_ + 1 < text_.size()) ++at_;
        if (c == '"') in_string = false;
      } else if (c == '"') {
        in_string = true;
      } else if (c == '{') {
        ++open;
      } else if (c == '}' && --open == 0) {
        ++at_;
        return std::string(text_.substr(begin, at_ - begin));
      }
      if (open == 0) break;
    }
    at_ = begin;
    return Fault("behind %json stands a schema in braces");
  }

  int depth_ = 0;
  int parts_ = 0;
};

}  // namespace

absl::Status EbnfFault(std::string_view text, size_t at, std::string_view what) {
  const std::string_view before = text.substr(0, at);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t begin = before.rfind('\n') + 1;  // npos + 1 is 0
  return absl::InvalidArgumentError(
      absl::StrCat("grammar, line ", line, ", column ", at - begin + 1, ": ", ToAbsl(what)));
}

absl::StatusOr<std::vector<EbnfRule>> ParseEbnf(std::string_view text) {
  return EbnfParser(text).Parse();
}

}  // namespace chimera
