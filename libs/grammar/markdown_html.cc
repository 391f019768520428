// Blocks of HTML in Markdown, as CommonMark finds them: only what is checked may have them. Within
// one nothing opens a code block.
#include "grammar/markdown_steps.h"

namespace chimera::markdown {
namespace {

// CommonMark 0.30, HTML blocks 6 and 1.
constexpr std::string_view kBlockNames[] = {
    "address", "article",  "aside",    "base",     "basefont", "blockquote", "body",
    "caption", "center",   "col",      "colgroup", "dd",       "details",    "dialog",
    "dir",     "div",      "dl",       "dt",       "fieldset", "figcaption", "figure",
    "footer",  "form",     "frame",    "frameset", "h1",       "h2",         "h3",
    "h4",      "h5",       "h6",       "head",     "header",   "hr",         "html",
    "iframe",  "legend",   "li",       "link",     "main",     "menu",       "menuitem",
    "nav",     "noframes", "ol",       "optgroup", "option",   "p",          "param",
    "pre",     "script",   "section",  "source",   "style",    "summary",    "table",
    "tbody",   "td",       "textarea", "tfoot",    "th",       "thead",      "title",
    "tr",      "track",    "ul"};
constexpr std::string_view kRawNames[] = {"pre", "script", "style", "textarea"};
static_assert(std::ranges::is_sorted(kBlockNames) && std::size(kBlockNames) < 127);

bool IsRaw(std::string_view name) {
  return std::ranges::find(kRawNames, name) != std::end(kRawNames);
}

bool IsAttributeStart(uint8_t c) { return IsLetter(c) || c == '_' || c == ':'; }

// Of </name> of a raw block, or of --> and the like.
void TrackEnd(uint32_t kind, HtmlDetail* html, uint8_t byte) {
  if (kind == kRawHtml) {
    uint32_t name = 4;
    if (html->seen == 2) {
      name = byte == '>' && html->letters > 0 && kRawNames[html->name].size() == html->letters
                 ? 4
                 : FollowName(kRawNames, html->name, html->letters, Lower(byte));
      if (byte == '>' && html->letters > 0) {
        html->done |= kRawNames[html->name].size() == html->letters;
      }
    }
    const bool slash = html->seen == 1 && byte == '/';
    html->letters = name < 4 ? html->letters + 1 : 0;
    html->name = name < 4 ? name : 0;
    html->seen = name < 4 || slash ? 2 : byte == '<' ? 1 : 0;
  } else {
    constexpr uint32_t kNeeded[] = {0, 0, 2, 1, 0};
    const uint8_t mark = kind == kHtmlComment ? '-' : '?';
    if (byte == '>' && html->seen == kNeeded[kind]) html->done = 1;
    html->seen = byte == mark ? std::min<uint32_t>(html->seen + 1, kNeeded[kind]) : 0;
  }
  if (html->done != 0) *html = {.done = 1};
}

}  // namespace

bool Stepper::OpenHtml(Line* line, uint32_t kind, uint8_t byte) {
  Truncate(line, line->matched);
  line->leaf = kHtml;
  line->html = kind;
  SetDetail(line, HtmlDetail{.seen = kind == kHtmlComment ? 2u : 0u});
  return HtmlText(line, byte);
}

// A byte of a block that is open.
bool Stepper::HtmlText(Line* line, uint8_t byte) {
  const int utf8 = Utf8Step(static_cast<int>(line->utf8), byte);
  if (utf8 == kUtf8Bad) return false;
  line->utf8 = static_cast<uint32_t>(utf8);
  line->place = kHtmlText;
  line->matched = line->indent = line->column = line->count = line->solid = 0;
  line->rule = line->rule_count = line->pushed = 0;
  HtmlDetail html = HtmlOf(*line);
  if (line->html < kBlockTag && html.done == 0) TrackEnd(line->html, &html, byte);
  SetDetail(line, html);
  return true;
}

bool Stepper::HtmlByte(Line* line, uint8_t byte) {
  switch (line->place) {
    case kHtmlText:
      return HtmlText(line, byte);
    case kHtmlOpen:
      if (byte == '/' && line->count == 0) {
        line->count = 1;
        return true;
      }
      if (byte == '?' && line->count == 0) return OpenHtml(line, kInstruction, 0);
      if (byte == '!' && line->count == 0) {
        line->place = kHtmlBang;
        return true;
      }
      if (!IsLetter(byte)) return Paragraph(line, byte);
      line->place = kHtmlName;
      line->detail = 0;
      return HtmlName(line, byte);
    case kHtmlBang:
      if (IsLetter(byte)) return OpenHtml(line, kDeclaration, byte);
      line->place = kHtmlDash;
      return byte == '-' || Paragraph(line, byte);
    case kHtmlDash:
      return byte == '-' ? OpenHtml(line, kHtmlComment, '-') : Paragraph(line, byte);
    case kHtmlName:
      return HtmlName(line, byte);
    case kHtmlSlash:
      if (byte == '>') return OpenHtml(line, kBlockTag, byte);
      return Paragraph(line, byte);
    default:
      return TagByte(line, byte);
  }
}

bool Stepper::HtmlName(Line* line, uint8_t byte) {
  HtmlDetail html = HtmlOf(*line);
  constexpr auto kNone = static_cast<uint32_t>(std::size(kBlockNames));
  if (IsLetter(byte) || IsDigit(byte) || byte == '-') {
    if (html.name != kNone) {
      html.name = FollowName(kBlockNames, html.name, html.letters, Lower(byte));
      html.letters = html.name == kNone ? 0 : html.letters + 1;
    }
    SetDetail(line, html);
    return true;
  }
  const bool known = html.name != kNone && kBlockNames[html.name].size() == html.letters;
  if (known && IsRaw(kBlockNames[html.name])) {
    if (line->count == 0 && (IsBlank(byte) || byte == '>')) return OpenHtml(line, kRawHtml, byte);
  } else if (known) {
    if (IsBlank(byte) || byte == '>') return OpenHtml(line, kBlockTag, byte);
    line->detail = 0;
    line->place = kHtmlSlash;
    return byte == '/' || Paragraph(line, byte);
  }
  if (IsParagraph(line->leaf)) return Paragraph(line, byte);
  line->detail = 0;
  line->place = kTagSpace;
  if (IsBlank(byte) || byte == '>' || byte == '/') return TagByte(line, byte);
  return Paragraph(line, byte);
}

// The attributes of any other tag, which is a block when it stands alone on its line.
bool Stepper::TagByte(Line* line, uint8_t byte) {
  const bool closing = line->count == 1;
  const auto go = [line](Place place) {
    line->place = place;
    return true;
  };
  switch (line->place) {
    case kTagSpace:
    case kAttribute:
    case kAttributeEnd:
      if (byte == '>') return go(kTagEnd);
      if (byte == '/' && !closing) return go(kTagEmpty);
      if (IsBlank(byte)) return go(line->place == kTagSpace ? kTagSpace : kAttributeEnd);
      if (closing) break;
      if (byte == '=' && line->place != kTagSpace) return go(kEquals);
      if (IsAttributeStart(byte)) return go(kAttribute);
      if (line->place == kAttribute && (IsDigit(byte) || byte == '.' || byte == '-')) return true;
      break;
    case kEquals:
      if (IsBlank(byte)) return true;
      if (byte == '\'') return go(kSingleQuoted);
      if (byte == '"') return go(kDoubleQuoted);
      line->place = kBare;
      [[fallthrough]];
    case kBare:
      if (IsBlank(byte)) return go(kTagSpace);
      if (byte == '>') return go(kTagEnd);
      if (std::string_view("\"'=<`").find(static_cast<char>(byte)) == std::string_view::npos &&
          byte < 0x80) {
        return true;
      }
      break;
    case kSingleQuoted:
    case kDoubleQuoted: {
      const int utf8 = Utf8Step(static_cast<int>(line->utf8), byte);
      line->utf8 = static_cast<uint32_t>(utf8);
      if (byte == (line->place == kSingleQuoted ? '\'' : '"')) line->place = kTagSpace;
      return utf8 != kUtf8Bad;
    }
    case kTagEmpty:
      if (byte == '>') return go(kTagEnd);
      break;
    default:
      if (IsBlank(byte)) return true;
      break;
  }
  return Paragraph(line, byte);
}

bool Stepper::HtmlLineEnd(Line* line) {
  const HtmlDetail html = HtmlOf(*line);
  switch (line->place) {
    case kHtmlText:
      if (html.done != 0) line->leaf = kNone;
      SetDetail(line, HtmlDetail{});
      return NewLine(line);
    case kTagEnd:
      return OpenHtml(line, kAnyTag, ' ') && NewLine(line);
    case kHtmlName:
      if (html.name < std::size(kBlockNames) && kBlockNames[html.name].size() == html.letters) {
        const bool raw = IsRaw(kBlockNames[html.name]);
        if (!raw || line->count == 0) {
          return OpenHtml(line, raw ? kRawHtml : kBlockTag, ' ') && NewLine(line);
        }
      }
      break;
    default:
      break;
  }
  return Paragraph(line, ' ') && LineEnd(line);
}

}  // namespace chimera::markdown
