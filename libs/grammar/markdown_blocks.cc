// Blocks of Markdown, as CommonMark finds them: a line goes on with containers (quotes and list
// items), then begins blocks, then has text.
#include "grammar/markdown_steps.h"

namespace chimera::markdown {

const GrammarItem& Stepper::Container(const Line& line, uint32_t index) const {
  uint32_t stack = line.stack;
  for (uint32_t above = Containers(line) - 1; above > index; --above) {
    stack = stacks_.Top(stack).stack;
  }
  return stacks_.Top(stack);
}

void Stepper::Truncate(Line* line, uint32_t containers) const {
  while (Containers(*line) > containers) line->stack = stacks_.Top(line->stack).stack;
}

bool Stepper::Push(Line* line, const GrammarItem& frame) {
  Truncate(line, line->matched);
  if (Containers(*line) >= containers_max_) return false;
  GrammarItem pushed = frame;
  pushed.stack = line->stack;
  line->stack = stacks_.Push(pushed);
  line->matched = line->matched + 1;
  line->indent = 0;
  line->leaf = kNone;
  line->html = 0;
  line->detail = 0;
  line->solid = 0;
  line->count = 0;
  return true;
}

bool Stepper::Step(Line* line, uint8_t byte) {
  if (generate_ && byte < ' ' && byte != '\n' && !(byte == '\t' && line->leaf == kFence)) {
    return false;
  }
  if (line->carriage != 0) {
    line->carriage = 0;
    if (byte == '\n') return true;
  }
  if (byte == '\n' || byte == '\r') {
    if (!LineEnd(line)) return false;
    line->carriage = byte == '\r';
    return true;
  }
  const bool tabs = !generate_ || line->leaf == kFence;
  if (tabs && line->place != kText) line->column = line->column + 1;
  switch (line->place) {
    case kIndent:
      return Indent(line, byte);
    case kText:
      if (line->rule != 0 && !IsBlank(byte)) TrackRule(line, byte);
      return Text(line, byte);
    case kBullet:
    case kZeros:
    case kOne:
    case kDigits:
    case kOrdered:
      return Marker(line, byte);
    case kAfterMarker:
      return AfterMarker(line, byte);
    case kHash:
      if (byte == '#' && line->count < 6) {
        line->count = line->count + 1;
        return true;
      }
      return IsBlank(byte) ? Other(line, byte) : Paragraph(line, byte);
    case kUnderline:
      if (IsBlank(byte)) line->count = 1;
      if (IsBlank(byte) || (byte == '=' && line->count == 0)) return true;
      return Paragraph(line, byte);
    case kFenceRun:
      return FenceRun(line, byte);
    case kInfo:
      return Info(line, byte);
    case kContent:
    case kCloseRun:
    case kCloseTail:
      return FenceByte(line, byte);
    default:
      return HtmlByte(line, byte);
  }
}

bool Stepper::LineEnd(Line* line) {
  if (line->utf8 != 0) return false;
  if (line->leaf == kFence) return FenceLineEnd(line);
  switch (line->place) {
    case kIndent:
      return Blank(line);
    case kBullet:
    case kOrdered:
    case kAfterMarker:
      return EmptyItem(line);
    case kHash:
    case kUnderline:
      Truncate(line, line->matched);
      line->leaf = kNone;
      return NewLine(line);
    case kFenceRun:
    case kInfo:
      if (line->place == kInfo || FenceOf(*line).run >= 3) return OpenFence(line);
      // One or two backticks: text.
      return generate_ && FenceOf(*line).tilde == 0 ? false : Paragraph(line, '~') && LineEnd(line);
    case kText:
      if (line->rule != 0) return RuleEnd(line);
      if (generate_ && InlineClose(TextOf(*line), line->leaf == kTable) != 0) return false;
      if (generate_) EndInline(line);
      return NewLine(line);
    case kZeros:
    case kOne:
    case kDigits:
      return Paragraph(line, '0') && LineEnd(line);
    default:
      return HtmlLineEnd(line);
  }
}

// Forgets all that is about one line.
bool Stepper::NewLine(Line* line) {
  const Line old = *line;
  *line = Line{};
  line->leaf = old.leaf;
  line->stack = old.stack;
  if (old.leaf == kHtml) line->html = old.html;
  if (old.leaf == kHtml || old.leaf == kFence) line->detail = old.detail;
  if (old.leaf == kFence) line->mode = old.mode;
  if (old.leaf == kRow || old.leaf == kTable) {
    SetDetail(line, TextDetail{.columns = TextOf(old).columns});
  }
  return true;
}

// A blank line: quotes without their > end, and so do paragraphs.
bool Stepper::Blank(Line* line) {
  const uint32_t containers = Containers(*line);
  uint32_t open = line->matched;
  while (open < containers && Container(*line, open).at == kItem) ++open;
  Truncate(line, open);
  if (line->leaf != kHtml || open < containers || line->html >= kBlockTag) line->leaf = kNone;
  if (line->stack != kEmptyStack && stacks_.Top(line->stack).at == kItem &&
      stacks_.Top(line->stack).b != 0) {
    line->stack = stacks_.Top(line->stack).stack;
  }
  return NewLine(line);
}

// One more column of white space. False: the code block that is open would end here.
bool Stepper::Column(Line* line) {
  if (line->spare_space != 0) {
    line->spare_space = 0;
    return true;
  }
  line->indent = std::min<uint32_t>(line->indent + 1, 31);
  const uint32_t containers = Containers(*line);
  if (line->matched >= containers) return true;
  const GrammarItem& next = Container(*line, line->matched);
  if (next.at == kItem && line->indent >= next.a) {
    line->indent = line->indent - next.a;
    line->matched = line->matched + 1;
  }
  return line->leaf != kFence || next.at == kItem || line->indent < 4;
}

// Columns of a space or a tab. line->column is already behind the first of them.
static uint32_t BlankColumns(Line* line, uint8_t byte) {
  if (byte == ' ') return 1;
  const uint32_t more = (4 - line->column) & 3;
  line->column = 0;
  return 1 + more;
}

bool Stepper::Indent(Line* line, uint8_t byte) {
  const uint32_t containers = Containers(*line);
  if (IsBlank(byte)) {
    if (generate_ && byte == '\t' && line->matched < containers) return false;
    const uint32_t columns = BlankColumns(line, byte);
    bool whole = byte == '\t' && line->spare_space == 0;
    for (uint32_t i = 0; i < columns; ++i) {
      const bool inside = line->matched == containers && line->spare_space == 0;
      if (!Column(line)) return false;
      if (line->leaf != kFence) continue;
      const bool fed = inside && line->indent > FenceOf(*line).indent;
      whole = whole && fed;
      if (fed && (!whole || i == 0)) Feed(whole ? byte : ' ');
    }
    if (line->leaf == kFence && line->matched == containers && line->indent >= 4) {
      return Content(line, ' ');
    }
    return true;
  }
  line->spare_space = 0;
  if (byte == '>' && line->matched < containers && line->indent < 4 &&
      Container(*line, line->matched).at == kQuote) {
    line->matched = line->matched + 1;
    line->indent = 0;
    line->spare_space = 1;
    return true;
  }
  if (line->leaf == kFence) return line->matched == containers && FenceByte(line, byte);
  return Begin(line, byte);
}

// A byte of a line's first text, or of a list item's.
bool Stepper::Begin(Line* line, uint8_t byte) {
  const uint32_t containers = Containers(*line);
  if (line->leaf == kHtml) {
    if (line->matched == containers) return HtmlText(line, byte);
    line->leaf = kNone;
    line->html = 0;
    line->detail = 0;
  }
  if (line->leaf == kTable) {
    return byte == '|' && line->matched == containers && line->indent < 4 && BeginRow(line);
  }
  if (line->matched == containers && containers > 0 && stacks_.Top(line->stack).b != 0) {
    GrammarItem frame = stacks_.Top(line->stack);
    frame.b = 0;
    line->stack = stacks_.Push(frame);
  }
  line->solid = line->matched == containers && IsParagraph(line->leaf);
  TrackRule(line, byte);
  if (line->indent >= 4) {
    return IsParagraph(line->leaf) ? Paragraph(line, byte) : Other(line, byte);
  }
  if (line->rule == 0) {
    constexpr std::string_view kRules = "-*_";
    const size_t rule = kRules.find(static_cast<char>(byte));
    line->rule = rule == std::string_view::npos ? 0 : static_cast<uint32_t>(rule) + 1;
    line->rule_count = line->rule != 0 ? 1 : 0;
  }
  return BeginBlock(line, byte);
}

bool Stepper::BeginBlock(Line* line, uint8_t byte) {
  switch (byte) {
    case '>':
      if (!Push(line, {.at = kQuote})) return false;
      line->place = kIndent;
      line->spare_space = 1;
      return true;
    case '#':
      line->place = kHash;
      line->count = 1;
      return true;
    case '`':
    case '~':
      line->place = kFenceRun;
      SetDetail(line, FenceDetail{.run = 1, .tilde = byte == '~', .indent = line->indent & 3u});
      return true;
    case '<':
      if (generate_) return false;  // what an HTML block is and where it ends is too subtle
      line->place = kHtmlOpen;
      line->count = 0;
      return true;
    case '=':
      if (line->solid == 0) return Paragraph(line, byte);
      line->place = kUnderline;
      return true;
    case '-':
    case '*':
    case '+':
      line->place = kBullet;
      line->indent = line->indent + 1;
      return true;
    case '|':
      if (!generate_) return Paragraph(line, byte);
      if (line->leaf == kPiped || line->leaf == kPipedOther) return false;
      if (line->solid == 0 && IsParagraph(line->leaf)) return false;
      return BeginRow(line);
    case ':':
      return !(generate_ && IsPiped(line->leaf)) && Paragraph(line, byte);
    default:
      break;
  }
  if (!IsDigit(byte)) return Paragraph(line, byte);
  line->place = byte == '0' ? kZeros : byte == '1' ? kOne : kDigits;
  line->count = 1;
  return true;
}

// Whether the line can still be a thematic break.
void Stepper::TrackRule(Line* line, uint8_t byte) {
  if (line->rule == 0) return;
  if (byte == static_cast<uint8_t>("-*_"[line->rule - 1])) {
    line->rule_count = std::min<uint32_t>(line->rule_count + 1, 3);
    return;
  }
  line->rule = line->rule_count = line->pushed = 0;
}

bool Stepper::Paragraph(Line* line, uint8_t byte) {
  if (!IsParagraph(line->leaf)) Truncate(line, line->matched);
  line->leaf = kParagraph;
  line->detail = 0;
  return Text(line, byte);
}

// Headings and indented code.
bool Stepper::Other(Line* line, uint8_t byte) {
  Truncate(line, line->matched);
  line->leaf = kNone;
  line->detail = 0;
  return Text(line, byte);
}

bool Stepper::Text(Line* line, uint8_t byte) {
  const int utf8 = Utf8Step(static_cast<int>(line->utf8), byte);
  if (utf8 == kUtf8Bad) return false;
  line->utf8 = static_cast<uint32_t>(utf8);
  line->place = kText;
  line->indent = line->column = line->count = 0;
  if (line->rule == 0) line->matched = line->solid = line->pushed = 0;
  if (!generate_) return true;
  // A line of dashes below a | would be a table's.
  if (line->rule == 1 && (byte == '|' || byte == ':')) return false;
  TextDetail text = TextOf(*line);
  if (!InlineByte(&text, line->leaf == kTable, byte)) return false;
  SetDetail(line, text);
  return true;
}

bool Stepper::Marker(Line* line, uint8_t byte) {
  if (line->place == kZeros || line->place == kOne || line->place == kDigits) {
    if (IsDigit(byte) && line->count < 9) {
      const bool zeros = line->place == kZeros;
      line->place = zeros && byte == '0' ? kZeros : zeros && byte == '1' ? kOne : kDigits;
      line->count = line->count + 1;
      return true;
    }
    // Only a list that begins with 1 interrupts a paragraph.
    const bool begins = line->place == kOne || line->solid == 0;
    if (!begins || (byte != '.' && byte != ')')) return Paragraph(line, byte);
    line->place = kOrdered;
    line->indent = line->indent + line->count + 1;
    line->count = 0;
    return true;
  }
  if (!IsBlank(byte)) {
    if (generate_ && IsPiped(line->leaf) && line->rule == 1) return false;
    TrackRule(line, byte);
    return Paragraph(line, byte);
  }
  line->place = kAfterMarker;
  line->count = 0;
  return AfterMarker(line, byte);
}

bool Stepper::AfterMarker(Line* line, uint8_t byte) {
  if (IsBlank(byte)) {
    line->count = std::min<uint32_t>(line->count + BlankColumns(line, byte), 9);
    return true;
  }
  const uint32_t spaces = line->count;
  const bool code = spaces > 4;
  if (!PushItem(line, line->indent + (code ? 1 : spaces), false)) return false;
  line->indent = code ? spaces - 1 : 0;
  return Begin(line, byte);
}

bool Stepper::PushItem(Line* line, uint32_t width, bool empty) {
  const uint32_t pushed = line->pushed;
  if (!Push(line, {.at = kItem, .a = width, .b = empty ? 1u : 0u})) return false;
  line->pushed = line->rule != 0 ? pushed + 1 : 0;
  return true;
}

// A list marker and nothing behind it.
bool Stepper::EmptyItem(Line* line) {
  if (line->rule != 0 && line->rule_count == 3) return RuleEnd(line);
  if (generate_) return false;
  if (line->solid != 0) {
    if (line->rule == 1 && line->pushed == 0) line->leaf = kNone;  // it underlines a heading
    return NewLine(line);
  }
  return PushItem(line, line->indent + 1, true) && NewLine(line);
}

bool Stepper::RuleEnd(Line* line) {
  if (line->rule_count == 3) {
    if (line->pushed == 0) Truncate(line, line->matched);
    for (uint32_t i = 0; i < line->pushed; ++i) line->stack = stacks_.Top(line->stack).stack;
    line->leaf = kNone;
  } else if (line->rule == 1 && line->solid != 0) {
    line->leaf = kNone;
  }
  return NewLine(line);
}

}  // namespace chimera::markdown
