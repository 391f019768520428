#include "grammar/regex_parse.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/text_cursor.h"
#include "text/utf8.h"

namespace chimera {
namespace {

class RegexParser : private TextCursor {
 public:
  RegexParser(std::string_view pattern, RegexOptions options)
      : TextCursor(pattern), options_(options) {}

  absl::StatusOr<RegexNode> Parse() {
    if (text_.size() > kRegexBytesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a regex of ", text_.size(), " bytes, the limit is ", kRegexBytesMax));
    }
    if (ValidUtf8Prefix(text_) != text_.size()) return Fault("the regex is no UTF-8");
    CHIMERA_ASSIGN_OR_RETURN(RegexNode node, Choice());
    if (!AtEnd()) return Fault("a ) without a (");
    return node;
  }

 private:
  absl::Status Fault(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("regex, byte ", at_, ": ", ToAbsl(what)));
  }
  RegexNode OfSet(CodePointSet set) const {
    RegexNode node{.kind = RegexNode::Kind::kSet};
    node.set = fold_ ? set.FoldAscii() : std::move(set);
    return node;
  }

  absl::StatusOr<RegexNode> Choice() {
    if (++depth_ > kRegexDepthMax) {
      return Fault(absl::StrCat("groups nest deeper than ", kRegexDepthMax));
    }
    RegexNode choice{.kind = RegexNode::Kind::kChoice};
    do {
      CHIMERA_ASSIGN_OR_RETURN(choice.parts.emplace_back(), Sequence());
    } while (Take("|"));
    --depth_;
    if (choice.parts.size() == 1) return std::move(choice.parts[0]);
    return choice;
  }

  absl::StatusOr<RegexNode> Sequence() {
    RegexNode sequence;
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      CHIMERA_ASSIGN_OR_RETURN(RegexNode atom, Atom());
      CHIMERA_ASSIGN_OR_RETURN(sequence.parts.emplace_back(), Repeats(std::move(atom)));
    }
    return sequence;
  }

  absl::StatusOr<RegexNode> Repeats(RegexNode atom) {
    const size_t begin = at_;
    int min = 0, max = RegexNode::kEndless;
    if (Take("*")) {
    } else if (Take("+")) {
      min = 1;
    } else if (Take("?")) {
      max = 1;
    } else if (!AtEnd() && Peek() == '{') {
      CHIMERA_ASSIGN_OR_RETURN(const bool counted, Counts(&min, &max));
      if (!counted) return atom;
    } else {
      return atom;
    }
    if (atom.kind == RegexNode::Kind::kBegin || atom.kind == RegexNode::Kind::kEnd) {
      at_ = begin;
      return Fault("an anchor cannot be repeated");
    }
    Take("?");  // lazy: the same texts
    if (!AtEnd() && Peek() == '+') return Fault("possessive quantifiers are not supported");
    if (!AtEnd() && (Peek() == '*' || Peek() == '?')) return Fault("two quantifiers in a row");
    RegexNode repeat{.kind = RegexNode::Kind::kRepeat};
    repeat.min = min;
    repeat.max = max;
    repeat.parts.push_back(std::move(atom));
    return repeat;
  }

  // {m}, {m,}, {m,n}; anything else after { is text, as in ECMAScript and RE2.
  absl::StatusOr<bool> Counts(int* min, int* max) {
    size_t i = at_ + 1;
    const auto number = [&](int* value) {
      const size_t begin = i;
      int64_t n = 0;
      for (; i < text_.size() && absl::ascii_isdigit(text_[i]); ++i) {
        n = std::min<int64_t>(n * 10 + (text_[i] - '0'), 1 << 30);
      }
      *value = static_cast<int>(n);
      return i > begin;
    };
    if (!number(min)) return false;
    *max = *min;
    if (i < text_.size() && text_[i] == ',') {
      ++i;
      if (!number(max)) *max = RegexNode::kEndless;
    }
    if (i >= text_.size() || text_[i] != '}') return false;
    if (*min > kRegexRepeatMax || *max > kRegexRepeatMax) {
      return Fault(absl::StrCat("a repetition of more than ", kRegexRepeatMax));
    }
    if (*max != RegexNode::kEndless && *max < *min) return Fault("a repetition with max < min");
    at_ = i + 1;
    return true;
  }

  absl::StatusOr<RegexNode> Atom() {
    if (Take("(")) return Group();
    if (Take("[")) return Class();
    if (Take("^")) return RegexNode{.kind = RegexNode::Kind::kBegin};
    if (Take("$")) return RegexNode{.kind = RegexNode::Kind::kEnd};
    if (Take(".")) {
      if (dot_all_) return OfSet(CodePointSet::All());
      CodePointSet newlines{{'\n', '\n'}};
      if (options_.ecma_search) newlines.Add({{'\r', '\r'}, {0x2028, 0x2029}});
      return OfSet(newlines.Negated());
    }
    if (Peek() == '*' || Peek() == '+' || Peek() == '?') return Fault("nothing to repeat");
    if (Take("\\")) {
      if (Take("A")) return RegexNode{.kind = RegexNode::Kind::kBegin};
      if (Take("z") || Take("Z")) return RegexNode{.kind = RegexNode::Kind::kEnd};
      CHIMERA_ASSIGN_OR_RETURN(CodePointSet set, Escape(false));
      return OfSet(std::move(set));
    }
    const uint32_t c = TakeCodePoint();
    if (fold_ && c >= 0x80) return Fault("(?i) with a letter beyond ASCII is not supported");
    return OfSet({{c, c}});
  }

  absl::StatusOr<RegexNode> Group() {
    const bool fold = fold_, dot_all = dot_all_;
    if (Take("?")) {
      if (Take("=") || Take("!") || Take("<=") || Take("<!")) {
        return Fault("look-around is not supported");
      }
      if (Take(">")) return Fault("atomic groups are not supported");
      if (Take("P<") || Take("<")) {
        while (!AtEnd() && (absl::ascii_isalnum(Peek()) || Peek() == '_')) ++at_;
        if (!Take(">")) return Fault("a group's name ends with >");
      } else if (!Take(":")) {
        CHIMERA_ASSIGN_OR_RETURN(const bool whole, Flags());
        // (?i) holds to the end of the group around it.
        if (whole) return RegexNode{};
      }
    }
    CHIMERA_ASSIGN_OR_RETURN(RegexNode node, Choice());
    if (!Take(")")) return Fault("a ( without its )");
    fold_ = fold;
    dot_all_ = dot_all;
    return node;
  }

  // Of (?flags) and (?flags:; true for the first.
  absl::StatusOr<bool> Flags() {
    bool value = true;
    for (; !AtEnd(); ++at_) {
      const char c = Peek();
      if (c == '-') {
        value = false;
      } else if (c == 'i') {
        fold_ = value;
      } else if (c == 's') {
        dot_all_ = value;
      } else if (c == ':' || c == ')') {
        ++at_;
        return c == ')';
      } else {
        return Fault(absl::StrCat("flag ", std::string(1, c), " is not supported"));
      }
    }
    return Fault("a group that does not end");
  }

  absl::StatusOr<RegexNode> Class() {
    const bool negated = Take("^");
    CodePointSet set;
    for (bool first = true; first || !(!AtEnd() && Peek() == ']'); first = false) {
      if (AtEnd()) return Fault("a [ without its ]");
      if (first && Peek() == ']' && options_.ecma_search) break;
      CHIMERA_ASSIGN_OR_RETURN(CodePointSet low, ClassAtom());
      const bool range = text_.size() - at_ >= 2 && Peek() == '-' && text_[at_ + 1] != ']';
      if (!range || !IsOne(low)) {
        set.Add(low);
        continue;
      }
      ++at_;
      CHIMERA_ASSIGN_OR_RETURN(const CodePointSet high, ClassAtom());
      if (!IsOne(high)) {
        set.Add(low);
        set.Add('-', '-');
        set.Add(high);
        continue;
      }
      const uint32_t from = low.ranges()[0].low, to = high.ranges()[0].low;
      if (to < from) return Fault("a range that runs backwards");
      set.Add(from, to);
    }
    ++at_;
    if (fold_) set = set.FoldAscii();
    return OfSet(negated ? set.Negated() : std::move(set));
  }

  static bool IsOne(const CodePointSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].low == set.ranges()[0].high;
  }

  absl::StatusOr<CodePointSet> ClassAtom() {
    if (Take("[:")) {
      const size_t end = text_.find(":]", at_);
      if (end == std::string_view::npos) return Fault("a [: without its :]");
      std::string_view name = text_.substr(at_, end - at_);
      const bool negated = name.starts_with('^');
      if (negated) name.remove_prefix(1);
      const auto set = CodePointSet::OfPosix(name);
      if (!set) return Fault(absl::StrCat("class ", ToAbsl(name), " is not known"));
      at_ = end + 2;
      return negated ? set->Negated() : *set;
    }
    if (Take("\\")) return Escape(true);
    const uint32_t c = TakeCodePoint();
    if (fold_ && c >= 0x80) return Fault("(?i) with a letter beyond ASCII is not supported");
    return CodePointSet{{c, c}};
  }

  // Behind a backslash.
  absl::StatusOr<CodePointSet> Escape(bool in_class) {
    if (AtEnd()) return Fault("a backslash at the end");
    const char c = Peek();
    if (const auto set = CodePointSet::OfEscape(c, options_.ecma_search)) {
      ++at_;
      return *set;
    }
    if (c == 'p' || c == 'P') return Property();
    if (c == 'b' && in_class) return Single('\b');
    if (c == 'b' || c == 'B') return Fault("word boundaries are not supported");
    if ((c >= '1' && c <= '9') || c == 'k') return Fault("back-references are not supported");
    constexpr std::string_view kNames = "nrtfva0", kValues("\n\r\t\f\v\a\0", 7);
    const size_t name = kNames.find(c);
    if (name != std::string_view::npos) return Single(uint32_t(kValues[name]));
    if (c == 'x' || c == 'u') return Hexadecimal();
    if (c == 'c' && at_ + 1 < text_.size() && absl::ascii_isalpha(text_[at_ + 1])) {
      ++at_;
      return Single(uint32_t(Peek()) & 31);
    }
    if (absl::ascii_isalpha(c)) {
      return Fault(absl::StrCat("escape \\", std::string(1, c), " is not known"));
    }
    const uint32_t code_point = TakeCodePoint();
    return CodePointSet{{code_point, code_point}};
  }

  CodePointSet Single(uint32_t code_point) {
    ++at_;
    return {{code_point, code_point}};
  }

  absl::StatusOr<CodePointSet> Hexadecimal() {
    const bool unicode = Peek() == 'u';
    ++at_;
    size_t digits = unicode ? 4 : 2;
    const bool braces = Take("{");
    if (braces) {
      const size_t end = text_.find('}', at_);
      if (end == std::string_view::npos) return Fault("a \\x{ without its }");
      digits = end - at_;
    }
    uint32_t value = 0;
    if (digits == 0 || digits > 6 || at_ + digits > text_.size()) {
      return Fault("hexadecimal digits are missing");
    }
    if (!TakeHex(digits, &value)) return Fault("not a hexadecimal digit");
    if (braces) ++at_;
    if (value > kCodePointMax || (value >= 0xD800 && value <= 0xDFFF)) {
      return Fault(absl::StrCat("U+", absl::Hex(value), " is no character"));
    }
    return CodePointSet{{value, value}};
  }

  absl::StatusOr<CodePointSet> Property() {
    const bool negated = Peek() == 'P';
    ++at_;
    std::string_view name;
    if (Take("{")) {
      const size_t end = text_.find('}', at_);
      if (end == std::string_view::npos) return Fault("a \\p{ without its }");
      name = text_.substr(at_, end - at_);
      at_ = end + 1;
    } else if (!AtEnd()) {
      name = text_.substr(at_++, 1);
    }
    const auto set = CodePointSet::OfProperty(name);
    if (!set) return Fault(absl::StrCat("property ", ToAbsl(name), " is not supported"));
    return negated ? set->Negated() : *set;
  }

  const RegexOptions options_;
  int depth_ = 0;
  bool fold_ = false, dot_all_ = false;
};

}  // namespace

absl::StatusOr<RegexNode> ParseRegex(std::string_view pattern, RegexOptions options) {
  return RegexParser(pattern, options).Parse();
}

}  // namespace chimera
