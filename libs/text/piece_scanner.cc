#include "text/piece_scanner.h"

#include "text/utf8.h"

namespace chimera {
namespace {

static_assert(std::endian::native == std::endian::little, "LetterCount counts from the low byte");

constexpr AsciiClasses MakeAsciiClasses() {
  AsciiClasses classes{};
  for (int c = 'a'; c <= 'z'; ++c) classes.of[c] = CharClass::kLower;
  for (int c = 'A'; c <= 'Z'; ++c) classes.of[c] = CharClass::kUpper;
  for (int c = '0'; c <= '9'; ++c) classes.of[c] = CharClass::kNumber;
  for (int c : {'\t', '\v', '\f', ' '}) classes.of[c] = CharClass::kSpace;
  for (int c : {'\r', '\n'}) classes.of[c] = CharClass::kNewline;
  return classes;
}

bool IsCaseless(CharClass kind) { return kind == CharClass::kCaseless || kind == CharClass::kMark; }
bool IsSpace(CharClass kind) { return kind == CharClass::kSpace || kind == CharClass::kNewline; }

}  // namespace

const AsciiClasses kAsciiClasses = MakeAsciiClasses();

PieceScanner::Char PieceScanner::At(size_t at) {
  if (at >= text_.size()) {
    touched_end_ = true;
    return {CharClass::kOther, 0};
  }
  const uint8_t byte = static_cast<uint8_t>(text_[at]);
  if (byte < 0x80) return {kAsciiClasses.of[byte], 1};
  const Utf8Char c = Utf8At(text_, at);
  if (c.kind == Utf8Char::Kind::kValid) return {classes_.Of(c.code_point), c.length};
  if (c.kind == Utf8Char::Kind::kTruncated) touched_end_ = true;
  return {CharClass::kOther, 1};
}

// Whether the character at `at`, which is not ASCII, could belong to the ASCII word before it. Near
// the end of the text this may say yes wrongly; the full scan then decides.
bool PieceScanner::ContinuesWord(size_t at) const {
  const Utf8Char c = Utf8At(text_, at);
  if (c.kind == Utf8Char::Kind::kTruncated) return true;
  if (c.kind == Utf8Char::Kind::kInvalid) return false;
  const CharClass kind = classes_.Of(c.code_point);
  return kind == CharClass::kUpper || kind == CharClass::kLower || IsCaseless(kind);
}

// Bytes of the contraction at `at`, where an apostrophe stands and four more bytes follow; 0 if
// none. Case folds as Unicode has it, so U+017F counts as s.
size_t PieceScanner::ContractionFarFromEnd(size_t at) const {
  const uint8_t first = static_cast<uint8_t>(text_[at + 1]) | 0x20;
  const uint8_t second = static_cast<uint8_t>(text_[at + 2]) | 0x20;
  switch (first) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return second == 'e' ? 3 : 0;
    case 'l':
      return second == 'l' ? 3 : 0;
    default:
      return text_[at + 1] == '\xC5' && text_[at + 2] == '\xBF' ? 3 : 0;
  }
}

size_t PieceScanner::AfterContraction(size_t at) {
  if (at + 3 <= text_.size()) {
    return text_[at] == '\'' ? at + ContractionFarFromEnd(at) : at;
  }
  if (at >= text_.size() || text_[at] != '\'') {
    touched_end_ |= at >= text_.size();
    return at;
  }
  touched_end_ = true;  // at most one byte follows the apostrophe
  if (at + 1 == text_.size()) return at;
  const char c = static_cast<char>(text_[at + 1] | 0x20);
  return c == 's' || c == 't' || c == 'm' || c == 'd' ? at + 2 : at;
}

PieceScanner::CasedRun PieceScanner::ReadCasedRun(size_t at) {
  size_t last_caseless_end = 0;
  while (true) {
    const Char c = At(at);
    if (c.length == 0) return {at, last_caseless_end, false};
    if (IsCaseless(c.kind)) {
      last_caseless_end = at + c.length;
    } else if (c.kind != CharClass::kUpper) {
      return {at, last_caseless_end, c.kind == CharClass::kLower};
    }
    at += c.length;
  }
}

// The end of (U|B)* (l|B)+ at `run`, without the contraction; 0 when it does not match. Without an
// l behind the run, (l|B)+ has only the run's last B to take.
size_t PieceScanner::MixedCaseEnd(const CasedRun& run) {
  if (!run.lower_follows) return run.last_caseless_end;
  size_t at = run.end;
  while (true) {
    const Char c = At(at);
    if (c.length == 0 || (c.kind != CharClass::kLower && !IsCaseless(c.kind))) return at;
    at += c.length;
  }
}

// Alternatives 1 and 2; 0 when none matches.
size_t PieceScanner::NextWord(size_t at, Char first) {
  const bool letter = first.kind == CharClass::kUpper || first.kind == CharClass::kLower ||
                      first.kind == CharClass::kCaseless;
  const bool prefix =
      !letter && first.kind != CharClass::kNewline && first.kind != CharClass::kNumber;
  const bool starts_run = letter || first.kind == CharClass::kMark;
  CasedRun with{};
  if (prefix) {
    with = ReadCasedRun(at + first.length);
    const size_t end = MixedCaseEnd(with);
    if (end != 0) return AfterContraction(end);
  }
  CasedRun without{};
  if (starts_run) {
    without = ReadCasedRun(at);
    const size_t end = MixedCaseEnd(without);
    if (end != 0) return AfterContraction(end);
  }
  if (prefix && with.end > at + first.length) return AfterContraction(with.end);
  if (starts_run && without.end > at) return AfterContraction(without.end);
  return 0;
}

// Alternative 4; 0 when it does not match.
size_t PieceScanner::NextSymbols(size_t at) {
  if (text_[at] == ' ') ++at;
  const auto symbol = [](Char c) {
    return c.length != 0 && (c.kind == CharClass::kOther || c.kind == CharClass::kMark);
  };
  Char c = At(at);
  if (!symbol(c)) return 0;
  do {
    at += c.length;
    c = At(at);
  } while (symbol(c));
  while (c.length != 0 && (c.kind == CharClass::kNewline || text_[at] == '/')) c = At(++at);
  return at;
}

// Alternatives 5 to 7. A space stands at `at`.
size_t PieceScanner::NextSpace(size_t at) {
  const size_t begin = at;
  size_t last = at;
  size_t newline_end = 0;
  Char c = At(at);
  while (c.length != 0 && IsSpace(c.kind)) {
    last = at;
    at += c.length;
    if (c.kind == CharClass::kNewline) newline_end = at;
    c = At(at);
  }
  if (newline_end != 0) return newline_end;
  return c.length == 0 || last == begin ? at : last;
}

size_t PieceScanner::NextAny(size_t at) {
  const Char first = At(at);
  if (first.kind == CharClass::kNumber) {
    size_t end = at + first.length;
    for (int digits = 1; digits < 3; ++digits) {
      const Char c = At(end);
      if (c.length == 0 || c.kind != CharClass::kNumber) break;
      end += c.length;
    }
    return end;
  }
  if (first.kind != CharClass::kNewline) {
    if (const size_t end = NextWord(at, first); end != 0) return end;
    if (const size_t end = NextSymbols(at); end != 0) return end;
  }
  return NextSpace(at);
}

}  // namespace chimera
