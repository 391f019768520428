// Markdown's machine a byte at a time; markdown_mode.cc says what it holds to.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "grammar/machine.h"
#include "grammar/modes.h"
#include "grammar/utf8_steps.h"

namespace chimera::markdown {

enum Place : uint32_t {
  kIndent,  // white space at the start of a line or of a block within it
  kText,    // the rest of a line; of what kind, the leaf says
  kBullet,  // behind - + *
  kZeros,   // digits that are the number 0, 1 or another so far; count: how many
  kOne,
  kDigits,
  kOrdered,      // behind the . or ) of a number
  kAfterMarker,  // white space behind a list marker; count: columns, capped
  kHash,         // count
  kUnderline,    // ==; count: 1 behind a space
  kFenceRun,     // ``` or ~~~ that may open a block
  kInfo,
  kContent,    // a line of a code block
  kCloseRun,   // ``` or ~~~ that may close it
  kCloseTail,  // white space behind that
  kHtmlOpen,   // <; count: 1 behind </
  kHtmlBang,
  kHtmlDash,
  kHtmlName,
  kHtmlSlash,  // <name/
  kTagSpace,
  kAttribute,
  kAttributeEnd,
  kEquals,
  kBare,
  kSingleQuoted,
  kDoubleQuoted,
  kTagEmpty,
  kTagEnd,
  kHtmlText,
};

// The innermost block, as far as it matters to the next line.
enum Leaf : uint32_t {
  kNone,
  kParagraph,
  kPiped,  // a paragraph whose last line has a |: it must not become the head of a table
  kRow,    // a paragraph whose last line may be one: a row of `columns` cells
  kTable,
  kFence,
  kHtml,
  kPipedOther,  // none, but the last line has a |
};
constexpr bool IsPiped(uint32_t leaf) {
  return leaf == kPiped || leaf == kRow || leaf == kPipedOther;
}
constexpr bool IsParagraph(uint32_t leaf) { return leaf >= kParagraph && leaf <= kRow; }

// The kinds of HTML blocks, as CommonMark numbers them.
enum HtmlKind : uint32_t {
  kRawHtml = 1,
  kHtmlComment = 2,
  kInstruction = 3,
  kDeclaration = 4,
  kBlockTag = 6,
  kAnyTag = 7,
};

// The blocks around the leaf are frames. a of an item: the columns its lines are indented by, b: 1
// while it is empty.
enum Frame : uint32_t { kQuote, kItem };
inline constexpr uint32_t kContainersMax = 60, kGeneratedContainersMax = 8;

enum InfoMode : uint32_t { kPlain, kJson, kPython, kJavascript, kSql, kLatex, kShell };
inline constexpr int kInfoModes = 7;

// The item of the text outside of what another mode reads.
struct Line {
  // GrammarItem::at
  uint32_t place : 5 = kIndent;
  uint32_t utf8 : 3 = 0;
  uint32_t leaf : 3 = kNone;
  uint32_t may_close : 1 = 0;    // the text of the code block may end where this line began
  uint32_t spare_space : 1 = 0;  // behind >: one space belongs to the mark
  uint32_t mode : 3 = kPlain;    // InfoMode of the code block
  uint32_t unused : 16 = 0;
  // GrammarItem::a
  uint32_t matched : 6 = 0;     // containers this line goes on with
  uint32_t indent : 5 = 0;      // columns behind those, capped; those of a list marker included
  uint32_t column : 2 = 0;      // of the line, modulo 4; only where tabs are allowed
  uint32_t rule : 2 = 0;        // the line may be a thematic break of -, * or _ (1, 2, 3)
  uint32_t rule_count : 2 = 0;  // of which there were that many, capped
  uint32_t pushed : 6 = 0;      // list items begun since, which it would undo
  uint32_t carriage : 1 = 0;    // behind \r
  uint32_t solid : 1 = 0;       // the line goes on with all containers and a paragraph
  uint32_t count : 4 = 0;       // see Place
  uint32_t html : 3 = 0;        // HtmlKind
  // GrammarItem::b: FenceDetail, TextDetail or HtmlDetail
  uint32_t detail = 0;
  uint32_t stack = kEmptyStack;
};
static_assert(sizeof(Line) == sizeof(GrammarItem));

inline constexpr uint32_t kNoName = 31;

struct FenceDetail {
  uint32_t length : 8 = 0;
  uint32_t run : 8 = 0;    // kCloseRun
  uint32_t tilde : 1 = 0;  // ~~~
  uint32_t indent : 2 = 0;
  uint32_t name : 5 = 0;     // kInfo: the first that begins with the letters so far
  uint32_t letters : 4 = 0;  // how many
  uint32_t ended : 1 = 0;    // the name ended
  uint32_t unused : 3 = 0;
};

// Only in what is generated.
struct TextDetail {
  uint32_t columns : 6 = 0;    // of the row above
  uint32_t cells : 6 = 0;      // ended by a |
  uint32_t filled : 1 = 0;     // there is text behind the last |
  uint32_t row : 1 = 0;        // the line begins with a |
  uint32_t delimiter : 3 = 0;  // DelimiterPlace
  uint32_t inside : 4 = 0;     // Inline
  uint32_t depth : 3 = 0;      // open [
  uint32_t run : 3 = 0;        // ` of the code span; open ( of a link
  uint32_t seen : 3 = 0;       // ` of the run that may end the span
  uint32_t piped : 1 = 0;
  uint32_t unused : 1 = 0;
};

struct HtmlDetail {
  uint32_t name : 7 = 0;
  uint32_t letters : 4 = 0;
  uint32_t seen : 3 = 0;  // of what ends the block
  uint32_t done : 1 = 0;
  uint32_t unused : 17 = 0;
};

enum Inline : uint32_t {
  kPlainInline,
  kEscape,
  kRun,  // of the ` that begin a span
  kSpan,
  kSpanRun,  // of ` within
  kBracketEnd,
  kTargetStart,
  kTarget,  // within the () of a link
  kTargetSpace,
  kTitle,
  kTitleEnd,
  kLess,
  kLessSlash,
  kTag,
  kTagClosed,
};

enum DelimiterPlace : uint32_t { kNoDelimiter, kCellStart, kCellColon, kCellDash, kCellEnd };

inline FenceDetail FenceOf(const Line& line) { return std::bit_cast<FenceDetail>(line.detail); }
inline TextDetail TextOf(const Line& line) { return std::bit_cast<TextDetail>(line.detail); }
inline HtmlDetail HtmlOf(const Line& line) { return std::bit_cast<HtmlDetail>(line.detail); }
inline uint8_t MarkOf(const Line& line) { return FenceOf(line).tilde != 0 ? '~' : '`'; }
template <typename Detail>
void SetDetail(Line* line, const Detail& detail) {
  line->detail = std::bit_cast<uint32_t>(detail);
}

constexpr bool IsBlank(uint8_t c) { return c == ' ' || c == '\t'; }
constexpr bool IsDigit(uint8_t c) { return c >= '0' && c <= '9'; }
constexpr bool IsLetter(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr uint8_t Lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
constexpr bool IsPunctuation(uint8_t c) {
  return c > ' ' && c < 0x7F && !IsDigit(c) && !IsLetter(c);
}

// Of sorted names the first, from `name` on, that has the same first `letters` and then c.
constexpr uint32_t FollowName(std::span<const std::string_view> names, uint32_t name,
                              uint32_t letters, uint8_t c) {
  const std::string_view begin = names[name].substr(0, letters);
  for (uint32_t n = name; n < names.size() && names[n].starts_with(begin); ++n) {
    if (names[n].size() > letters && static_cast<uint8_t>(names[n][letters]) == c) return n;
  }
  return static_cast<uint32_t>(names.size());
}

// The mode of a block, when its info string is what was read of it.
uint32_t ModeOfInfo(const FenceDetail& fence);
GrammarMode GrammarModeOfInfo(uint32_t info_mode);

// What is generated: a byte of a line. False: it may not stand there.
bool InlineByte(TextDetail* text, bool table, uint8_t byte);
// Whether the line may end here, and in how many bytes it may.
uint32_t InlineClose(const TextDetail& text, bool table);
// The leaf behind such a line.
void EndInline(Line* line);

// One step of the line's item, and what it means to the text of a code block.
class Stepper {
 public:
  Stepper(bool generate, StackPool* stacks)
      : generate_(generate),
        containers_max_(generate ? kGeneratedContainersMax : kContainersMax),
        stacks_(*stacks) {}

  // False: the byte cannot follow.
  bool Step(Line* line, uint8_t byte);

  // Bytes of the code block's text that this one added.
  std::span<const uint8_t> fed() const { return {fed_.data(), n_fed_}; }

 private:
  uint32_t Containers(const Line& line) const {
    return static_cast<uint32_t>(stacks_.Depth(line.stack));
  }
  const GrammarItem& Container(const Line& line, uint32_t index) const;
  void Truncate(Line* line, uint32_t containers) const;
  bool Push(Line* line, const GrammarItem& frame);
  void Feed(uint8_t byte) { fed_[n_fed_++] = byte; }

  bool LineEnd(Line* line);
  bool NewLine(Line* line);
  bool Blank(Line* line);
  bool Column(Line* line);
  bool Indent(Line* line, uint8_t byte);
  bool Begin(Line* line, uint8_t byte);
  bool BeginBlock(Line* line, uint8_t byte);
  bool BeginRow(Line* line);
  void TrackRule(Line* line, uint8_t byte);
  bool Paragraph(Line* line, uint8_t byte);
  bool Other(Line* line, uint8_t byte);
  bool Text(Line* line, uint8_t byte);
  bool Marker(Line* line, uint8_t byte);
  bool AfterMarker(Line* line, uint8_t byte);
  bool PushItem(Line* line, uint32_t width, bool empty);
  bool EmptyItem(Line* line);
  bool RuleEnd(Line* line);
  bool FenceRun(Line* line, uint8_t byte);
  bool Info(Line* line, uint8_t byte);
  bool OpenFence(Line* line);
  bool FenceByte(Line* line, uint8_t byte);
  bool Content(Line* line, uint8_t byte);
  bool FenceLineEnd(Line* line);

  bool HtmlByte(Line* line, uint8_t byte);
  bool HtmlName(Line* line, uint8_t byte);
  bool TagByte(Line* line, uint8_t byte);
  bool OpenHtml(Line* line, uint32_t kind, uint8_t byte);
  bool HtmlText(Line* line, uint8_t byte);
  bool HtmlLineEnd(Line* line);

  const bool generate_;
  const uint32_t containers_max_;
  StackPool& stacks_;
  std::array<uint8_t, 4> fed_ = {};
  size_t n_fed_ = 0;
};

}  // namespace chimera::markdown
