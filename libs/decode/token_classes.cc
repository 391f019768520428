#include "decode/token_classes.h"

#include <algorithm>
#include <string_view>

namespace chimera {
namespace {

using Text = std::string_view;

bool AllOf(Text text, Text bytes) { return text.find_first_not_of(bytes) == Text::npos; }

bool IsName(Text token) {
  if (token.size() < 3 || token[0] != ' ' || token[1] < 'A' || token[1] > 'Z') return false;
  return std::all_of(token.begin() + 2, token.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// Of a token that begins with a full stop, an exclamation or a question mark.
TokenClass EndClass(Text text) {
  const Text rest = text.substr(
      text.find_first_not_of(".!?") == Text::npos ? text.size() : text.find_first_not_of(".!?"));
  if (!AllOf(rest, "\"')] \r\n")) return TokenClass::kOther;
  return std::count(rest.begin(), rest.end(), '\n') > 1 ? TokenClass::kSentenceParagraph
                                                        : TokenClass::kSentenceEnd;
}

TokenClass FirstByteClass(char byte) {
  switch (byte) {
    case ')':
      return TokenClass::kRoundCloser;
    case ']':
      return TokenClass::kSquareCloser;
    case '}':
      return TokenClass::kCurlyCloser;
    case '"':
      return TokenClass::kDoubleQuote;
    case '\'':
      return TokenClass::kSingleQuote;
    case '`':
      return TokenClass::kBacktick;
    case '$':
      return TokenClass::kDollar;
    default:
      return TokenClass::kOther;
  }
}

TokenClass ClassOf(Text token) {
  if (AllOf(token, " \t\r\n")) {
    const auto lines = std::count(token.begin(), token.end(), '\n');
    return lines == 0   ? TokenClass::kOther
           : lines == 1 ? TokenClass::kLine
                        : TokenClass::kParagraph;
  }
  if (IsName(token)) return TokenClass::kName;
  const Text text = token.substr(token.find_first_not_of(' '));
  if (text[0] == '.' || text[0] == '!' || text[0] == '?') return EndClass(text);
  if (text.starts_with("```") || text.starts_with("~~~")) return TokenClass::kFence;
  if (text.starts_with("\xE2\x80\x9D")) return TokenClass::kDoubleQuote;
  return FirstByteClass(text[0]);
}

}  // namespace

ClassTable MakeClassTable(const Tokenizer& tokenizer) {
  ClassTable table(static_cast<size_t>(tokenizer.vocab_size()));
  for (int id = 0; id < tokenizer.n_ranks(); ++id) {
    const Text bytes = tokenizer.TokenBytes(id);
    if (!bytes.empty()) table[static_cast<size_t>(id)] = static_cast<uint8_t>(ClassOf(bytes));
  }
  table[static_cast<size_t>(tokenizer.eot())] = static_cast<uint8_t>(TokenClass::kEndOfText);
  return table;
}

TokenClass DischargingClass(const DebtEntry& entry) {
  switch (entry.type) {
    case DebtType::kCloseBracket:
      return FirstByteClass(static_cast<char>(entry.key));
    case DebtType::kCloseString:
      return entry.key == 'c' ? TokenClass::kDoubleQuote
                              : FirstByteClass(static_cast<char>(entry.key));
    case DebtType::kCloseFence:
      return TokenClass::kFence;
    case DebtType::kResolvePronoun:
      return TokenClass::kName;
    case DebtType::kFinishList:
      return TokenClass::kLine;
    case DebtType::kMaintainTense:
      return TokenClass::kParagraph;
    case DebtType::kCompleteSentence:
      return TokenClass::kSentenceEnd;
    case DebtType::kEndJsonObject:
      return TokenClass::kCurlyCloser;
  }
  return TokenClass::kOther;
}

}  // namespace chimera
