// Debts of code: brackets outside strings and comments, strings, and in JSON objects. A scanner for
// reports, not a parser: expressions within templates and f-strings are part of their strings, and
// a regular expression of JavaScript is read as if it were none. What may really follow is the
// grammar's business.
#include <vector>

#include "decode/debt_scanner.h"

namespace chimera {
namespace {

struct CodeRules {
  std::string_view quotes = "\"";
  std::string_view unescaped = "";  // quotes in which a backslash is a character like others
  char line_comment = 0;            // one byte
  bool word_comment = false;        // line_comment only behind white space
  bool slash_comments = false;      // "//" and "/* */"
  bool dash_comments = false;       // "--" and "/* */"
  bool tripled = false;             // three quotes begin a string that three end
  bool one_line = false;            // a line's end ends a string that is not tripled
  bool escapes_outside = false;     // a backslash takes the next byte's meaning everywhere
  bool dollars = false;             // "$" and "$$" enclose mathematics
  bool objects = false;             // braces are objects, not brackets
};

CodeRules RulesOf(GrammarMode mode) {
  switch (mode) {
    case GrammarMode::kPython:
      return {.quotes = "\"'", .line_comment = '#', .tripled = true, .one_line = true};
    case GrammarMode::kJavascript:
      return {.quotes = "\"'`", .slash_comments = true};
    case GrammarMode::kSql:
      return {.quotes = "'\"", .unescaped = "'\"", .dash_comments = true};
    case GrammarMode::kMathLatex:
      return {.quotes = "", .line_comment = '%', .escapes_outside = true, .dollars = true};
    case GrammarMode::kShell:
      return {.quotes = "\"'`",
              .unescaped = "'",
              .line_comment = '#',
              .word_comment = true,
              .escapes_outside = true};
    default:
      return {.objects = true};
  }
}

bool IsSpace(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

class CodeScanner final : public DebtScanner {
 public:
  explicit CodeScanner(const CodeRules& rules) : rules_(rules) {}

  void Push(uint8_t byte, DebtSink* sink) override {
    switch (place_) {
      case Place::kCode:
        Code(byte, sink);
        break;
      case Place::kOpened:
        Opened(byte, sink);
        break;
      case Place::kEmptyString:
        EmptyString(byte, sink);
        break;
      case Place::kString:
        String(byte, sink);
        break;
      case Place::kLineComment:
        if (byte == '\n') place_ = Place::kCode;
        break;
      case Place::kBlockComment:
        if (previous_ == '*' && byte == '/') {
          place_ = Place::kCode;
          byte = 0;  // its slash begins no other comment
        }
        break;
    }
    previous_ = byte;
  }

 private:
  enum class Place : uint8_t { kCode, kOpened, kEmptyString, kString, kLineComment, kBlockComment };
  struct Level {
    DebtType type;
    uint8_t closer;
    uint8_t key;
  };

  void Code(uint8_t byte, DebtSink* sink) {
    if (escaped_) {
      escaped_ = false;
      return;
    }
    if (rules_.escapes_outside && byte == '\\') {
      escaped_ = true;
    } else if (rules_.dollars && (byte == '$' || math_signs_ != 0)) {
      Dollar(byte, sink);
      if (byte != '$') Bracket(byte, sink);
    } else if (!Comment(byte)) {
      if (rules_.quotes.find(static_cast<char>(byte)) != std::string_view::npos) {
        OpenString(byte, 1, sink);
        place_ = Place::kOpened;
      } else {
        Bracket(byte, sink);
      }
    }
  }

  bool Comment(uint8_t byte) {
    const bool dashes = rules_.dash_comments && byte == '-' && previous_ == '-';
    const bool slashes = rules_.slash_comments && byte == '/' && previous_ == '/';
    const bool mark = rules_.line_comment != 0 && byte == uint8_t(rules_.line_comment) &&
                      (!rules_.word_comment || IsSpace(previous_));
    const bool block =
        (rules_.slash_comments || rules_.dash_comments) && byte == '*' && previous_ == '/';
    if (dashes || slashes || mark) place_ = Place::kLineComment;
    if (block) place_ = Place::kBlockComment;
    return dashes || slashes || mark || block;
  }

  void Bracket(uint8_t byte, DebtSink* sink) {
    if (byte == '(' || byte == '[' || byte == '{') {
      if (levels_.size() == size_t{kDebtDepthMax}) return;
      const uint8_t closer = byte == '(' ? ')' : byte == '[' ? ']' : '}';
      const bool object = byte == '{' && rules_.objects;
      objects_ += object ? 1 : 0;
      const auto depth = static_cast<uint8_t>(objects_ < 255 ? objects_ : 255);
      levels_.push_back({object ? DebtType::kEndJsonObject : DebtType::kCloseBracket, closer,
                         object ? depth : closer});
      sink->Open(levels_.back().type, levels_.back().key, 0);
    } else if (!levels_.empty() && byte == levels_.back().closer) {
      sink->Discharge(levels_.back().type, levels_.back().key);
      objects_ -= levels_.back().type == DebtType::kEndJsonObject ? 1 : 0;
      levels_.pop_back();
    }
  }

  void OpenString(uint8_t quote, int length, DebtSink* sink) {
    quote_ = quote;
    length_ = length;
    run_ = 0;
    escaped_ = false;
    sink->Open(DebtType::kCloseString, quote, 0);
  }

  void CloseString(DebtSink* sink) {
    sink->Discharge(DebtType::kCloseString, quote_);
    place_ = Place::kCode;
  }

  // Behind the first quote.
  void Opened(uint8_t byte, DebtSink* sink) {
    place_ = Place::kString;
    if (byte != quote_) return String(byte, sink);
    CloseString(sink);
    if (rules_.tripled) place_ = Place::kEmptyString;
  }

  // Behind two quotes, which may be the first of three.
  void EmptyString(uint8_t byte, DebtSink* sink) {
    place_ = Place::kCode;
    if (byte != quote_) return Code(byte, sink);
    OpenString(byte, 3, sink);
    place_ = Place::kString;
  }

  void String(uint8_t byte, DebtSink* sink) {
    if (escaped_) {
      escaped_ = false;
      return;
    }
    if (byte == quote_) {
      if (++run_ == length_) CloseString(sink);
      return;
    }
    run_ = 0;
    escaped_ =
        byte == '\\' && rules_.unescaped.find(static_cast<char>(quote_)) == std::string_view::npos;
    if (byte == '\n' && rules_.one_line && length_ == 1) {
      sink->Violate(DebtType::kCloseString);
      CloseString(sink);
    }
  }

  // math_signs_: how many signs the mathematics began with; run_ counts those that end it.
  void Dollar(uint8_t byte, DebtSink* sink) {
    if (byte != '$') {
      run_ = 0;
      begun_ = false;
    } else if (math_signs_ == 0) {
      sink->Open(DebtType::kCloseString, '$', 0);
      math_signs_ = 1;
      run_ = 0;
      begun_ = true;
    } else if (begun_) {
      math_signs_ = 2;
      begun_ = false;
    } else if (++run_ == math_signs_) {
      sink->Discharge(DebtType::kCloseString, '$');
      math_signs_ = 0;
    }
  }

  const CodeRules rules_;
  Place place_ = Place::kCode;
  uint8_t previous_ = '\n';
  uint8_t quote_ = 0;
  int length_ = 0;  // quotes that end the string
  int run_ = 0;     // of them, those just read
  int math_signs_ = 0;
  bool begun_ = false;  // the last byte was the sign that began the mathematics
  bool escaped_ = false;
  int objects_ = 0;
  std::vector<Level> levels_;
};

}  // namespace

std::unique_ptr<DebtScanner> MakeCodeScanner(GrammarMode mode) {
  return std::make_unique<CodeScanner>(RulesOf(mode));
}

}  // namespace chimera
