// What generated Markdown has within a line. Code spans, links and tags end on the line they began
// on: whether the next line belongs to the same paragraph is where readers of Markdown differ.
#include "grammar/markdown_steps.h"

namespace chimera::markdown {
namespace {

constexpr uint32_t kRunMax = 6, kDepthMax = 7, kCellsMax = 60;

bool Pipe(TextDetail* text) {
  text->piped = 1;
  if (text->row == 0) return true;
  if (text->depth > 0 || text->cells == kCellsMax) return false;
  text->cells = text->cells + 1;
  text->filled = 0;
  return true;
}

bool Plain(TextDetail* text, uint8_t byte) {
  text->inside = kPlainInline;
  switch (byte) {
    case '`':
      text->inside = kRun;
      text->run = 1;
      return true;
    case '\\':
      text->inside = kEscape;
      return true;
    case '[':
      text->depth = text->depth + 1;
      return text->depth != 0;
    case ']':
      if (text->depth == 0) return true;
      text->depth = text->depth - 1;
      text->inside = kBracketEnd;
      return true;
    case '<':
      text->inside = kLess;
      return true;
    case '|':
      return Pipe(text);
    default:
      return true;
  }
}

bool SpanByte(TextDetail* text, uint8_t byte) {
  text->inside = kSpan;
  text->seen = 0;
  if (byte == '`') {
    text->inside = kSpanRun;
    text->seen = 1;
  }
  // Some readers split a row there, some do not.
  if (byte == '|') text->piped = 1;
  return byte != '|' || text->row == 0;
}

bool SpanRunByte(TextDetail* text, uint8_t byte) {
  if (byte == '`') {
    if (text->seen <= text->run) text->seen = text->seen + 1;
    return true;
  }
  if (text->seen != text->run) return SpanByte(text, byte);
  text->seen = text->run = 0;
  return Plain(text, byte);
}

bool TargetByte(TextDetail* text, uint8_t byte) {
  const bool start = text->inside == kTargetStart;
  text->inside = kTarget;
  switch (byte) {
    case '(':
      text->run = text->run + 1;
      return text->run != 0;
    case ')':
      text->run = text->run - 1;
      if (text->run == 0) text->inside = kPlainInline;
      return true;
    case ' ':
      text->inside = kTargetSpace;
      return text->run == 1 && !start;
    default:
      return std::string_view("\"'<>`[]\\|").find(static_cast<char>(byte)) ==
             std::string_view::npos;
  }
}

// Behind the target of a link: "title" and the closing parenthesis.
bool TitleByte(TextDetail* text, uint8_t byte) {
  if (text->inside == kTitle) {
    if (byte == '"') text->inside = kTitleEnd;
    return std::string_view("()<`[]\\|").find(static_cast<char>(byte)) == std::string_view::npos;
  }
  if (byte == ')') {
    text->inside = kPlainInline;
    text->run = 0;
    return true;
  }
  if (text->inside == kTitleEnd) return false;
  if (byte == '"') text->inside = kTitle;
  return byte == '"' || byte == ' ';
}

// Behind a <: a tag without attributes, or nothing that could be taken for one.
bool TagByte(TextDetail* text, uint8_t byte) {
  const bool name = IsLetter(byte) || IsDigit(byte) || byte == '-';
  switch (text->inside) {
    case kLess:
      if (byte == '!' || byte == '?') return false;
      if (byte == '/') {
        text->inside = kLessSlash;
        return true;
      }
      break;
    case kTag:
      if (byte == '/') text->inside = kTagClosed;
      if (byte == '>') text->inside = kPlainInline;
      return name || byte == '/' || byte == '>';
    case kTagClosed:
      text->inside = kPlainInline;
      return byte == '>';
    default:
      break;
  }
  if (!IsLetter(byte)) return Plain(text, byte);
  text->inside = kTag;
  return true;
}

uint32_t DelimiterStep(uint32_t place, uint8_t byte) {
  switch (place) {
    case kCellStart:
      if (byte == ' ') return kCellStart;
      return byte == ':' ? kCellColon : byte == '-' ? kCellDash : kNoDelimiter;
    case kCellColon:
      return byte == '-' ? kCellDash : kNoDelimiter;
    case kCellDash:
      if (byte == '-') return kCellDash;
      if (byte == ':' || byte == ' ') return kCellEnd;
      return byte == '|' ? kCellStart : kNoDelimiter;
    case kCellEnd:
      return byte == ' ' ? kCellEnd : byte == '|' ? kCellStart : kNoDelimiter;
    default:
      return kNoDelimiter;
  }
}

}  // namespace

bool InlineByte(TextDetail* text, bool table, uint8_t byte) {
  if (text->row != 0) {
    if (table && byte != ' ' && text->cells == text->columns) return false;
    text->delimiter = DelimiterStep(text->delimiter, byte);
    if (byte != ' ') text->filled = 1;
  }
  switch (text->inside) {
    case kEscape:
      if (!IsPunctuation(byte)) return Plain(text, byte);
      text->inside = kPlainInline;
      if (byte == '|') text->piped = 1;
      // Behind \\ some readers take a | for escaped.
      return byte != '\\' || text->row == 0;
    case kRun:
      if (byte != '`') return SpanByte(text, byte);
      text->run = text->run + 1;
      return text->run <= kRunMax;
    case kSpan:
      return SpanByte(text, byte);
    case kSpanRun:
      return SpanRunByte(text, byte);
    case kBracketEnd:
      if (byte != '(') return Plain(text, byte);
      text->inside = kTargetStart;
      text->run = 1;
      return true;
    case kTargetStart:
    case kTarget:
      return TargetByte(text, byte);
    case kTargetSpace:
    case kTitle:
    case kTitleEnd:
      return TitleByte(text, byte);
    case kLess:
    case kLessSlash:
    case kTag:
    case kTagClosed:
      return TagByte(text, byte);
    default:
      return Plain(text, byte);
  }
}

uint32_t InlineClose(const TextDetail& text, bool table) {
  const uint32_t cells = text.cells + text.filled;
  uint32_t rest = text.depth;
  if (table && cells != text.columns) rest += text.columns - text.cells;
  switch (text.inside) {
    case kEscape:
      return rest == 0 ? 0 : rest + 1;
    case kRun:
      return rest + 1 + text.run;
    case kSpan:
    case kTargetStart:
    case kTarget:
      return rest + text.run;
    case kSpanRun:
      return rest + (text.seen <= text.run ? text.run - text.seen : 1 + text.run);
    case kTitle:
      return rest + 2;
    case kTargetSpace:
    case kTitleEnd:
    case kTag:
    case kTagClosed:
      return rest + 1;
    default:
      return rest;
  }
}

void EndInline(Line* line) {
  const TextDetail text = TextOf(*line);
  if (text.row == 0) {
    if (text.piped != 0) line->leaf = IsParagraph(line->leaf) ? kPiped : kPipedOther;
    return;
  }
  if (line->leaf == kTable) return;
  const uint32_t columns = text.cells + text.filled;
  const bool delimiter = text.delimiter != kNoDelimiter && text.delimiter != kCellColon;
  line->leaf = columns == 0 ? kPiped : kRow;
  if (delimiter && columns > 0 && columns == text.columns) line->leaf = kTable;
  SetDetail(line, TextDetail{.columns = columns});
}

bool Stepper::BeginRow(Line* line) {
  const bool below_row = line->leaf == kRow, table = line->leaf == kTable;
  const uint32_t columns = below_row || table ? TextOf(*line).columns : 0;
  if (!IsParagraph(line->leaf) && !table) Truncate(line, line->matched);
  if (!table) line->leaf = kRow;
  line->place = kText;
  line->matched = line->indent = line->solid = line->pushed = 0;
  SetDetail(line, TextDetail{.columns = columns,
                             .row = 1,
                             .delimiter = below_row ? uint32_t{kCellStart} : kNoDelimiter});
  return true;
}

}  // namespace chimera::markdown
