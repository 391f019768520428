// Fenced code blocks of Markdown.
#include "grammar/markdown_steps.h"

namespace chimera::markdown {
namespace {

struct InfoName {
  std::string_view name;
  InfoMode mode;
};
constexpr InfoName kInfoNames[] = {
    {"bash", kShell}, {"javascript", kJavascript}, {"js", kJavascript},
    {"json", kJson},  {"latex", kLatex},           {"mjs", kJavascript},
    {"py", kPython},  {"python", kPython},         {"python3", kPython},
    {"sh", kShell},   {"shell", kShell},           {"sql", kSql},
    {"tex", kLatex},
};
constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kInfoNames)> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kInfoNames[i].name;
  return names;
}();
static_assert(std::ranges::is_sorted(kNames) && kNames.size() < kNoName);

constexpr uint32_t kRunMax = 200;

}  // namespace

uint32_t ModeOfInfo(const FenceDetail& fence) {
  if (fence.name == kNoName || fence.letters == 0) return kPlain;
  const InfoName& info = kInfoNames[fence.name];
  return info.name.size() == fence.letters ? uint32_t{info.mode} : uint32_t{kPlain};
}

GrammarMode GrammarModeOfInfo(uint32_t info_mode) {
  constexpr GrammarMode kModes[kInfoModes] = {GrammarMode::kPlainText, GrammarMode::kJson,
                                              GrammarMode::kPython,    GrammarMode::kJavascript,
                                              GrammarMode::kSql,       GrammarMode::kMathLatex,
                                              GrammarMode::kShell};
  return kModes[info_mode];
}

bool Stepper::FenceRun(Line* line, uint8_t byte) {
  FenceDetail fence = FenceOf(*line);
  if (byte == MarkOf(*line)) {
    fence.run = fence.run + 1;
    SetDetail(line, fence);
    return fence.run <= kRunMax;
  }
  if (fence.run >= 3) {
    fence.length = fence.run;
    fence.run = 0;
    SetDetail(line, fence);
    line->place = kInfo;
    return Info(line, byte);
  }
  const uint32_t run = fence.tilde != 0 ? 0 : fence.run;
  if (!IsParagraph(line->leaf)) Truncate(line, line->matched);
  line->leaf = kParagraph;
  line->detail = 0;
  if (generate_ && run > 0) {
    SetDetail(line, TextDetail{.filled = 1, .inside = kRun, .run = run});
  }
  return Text(line, byte);
}

bool Stepper::Info(Line* line, uint8_t byte) {
  FenceDetail fence = FenceOf(*line);
  if (byte == '`' && (generate_ || fence.tilde == 0)) {
    return !generate_ && Paragraph(line, byte);
  }
  if (generate_ && byte == '|') return false;  // it could be the head of a table
  const int utf8 = Utf8Step(static_cast<int>(line->utf8), byte);
  if (utf8 == kUtf8Bad) return false;
  line->utf8 = static_cast<uint32_t>(utf8);
  line->column = 0;
  if (IsBlank(byte)) {
    fence.ended = fence.letters > 0 || fence.name == kNoName;
  } else if (fence.ended == 0 && fence.name != kNoName) {
    const uint32_t name = FollowName(kNames, fence.name, fence.letters, Lower(byte));
    fence.name = name < kNames.size() ? name : kNoName;
    fence.letters = name < kNames.size() ? fence.letters + 1 : 0;
  }
  if (fence.ended != 0 && ModeOfInfo(fence) == kPlain) {
    fence.name = kNoName;
    fence.letters = 0;
  }
  if (fence.name == kNoName) fence.ended = 1;
  SetDetail(line, fence);
  return true;
}

bool Stepper::OpenFence(Line* line) {
  FenceDetail fence = FenceOf(*line);
  Truncate(line, line->matched);
  line->leaf = kFence;
  line->mode = ModeOfInfo(fence);
  const uint32_t length = line->place == kInfo ? fence.length : fence.run;
  SetDetail(line,
            FenceDetail{.length = length & 0xFF, .tilde = fence.tilde, .indent = fence.indent});
  NewLine(line);
  line->may_close = line->mode == kPlain;
  return true;
}

// A byte behind the indentation of a line within a block.
bool Stepper::FenceByte(Line* line, uint8_t byte) {
  FenceDetail fence = FenceOf(*line);
  Feed(byte);
  line->column = 0;
  line->matched = line->indent = 0;
  const bool run = line->place == kIndent || line->place == kCloseRun;
  if (run && byte == MarkOf(*line)) {
    line->place = kCloseRun;
    if (fence.run < fence.length) fence.run = fence.run + 1;
    SetDetail(line, fence);
    return !generate_ || fence.run < fence.length || line->may_close != 0;
  }
  if (IsBlank(byte) &&
      (line->place == kCloseTail || (line->place == kCloseRun && fence.run == fence.length))) {
    line->place = kCloseTail;
    return true;
  }
  return Content(line, byte);
}

// A byte that was fed, and after which the line does not close the block.
bool Stepper::Content(Line* line, uint8_t byte) {
  FenceDetail fence = FenceOf(*line);
  fence.run = 0;
  SetDetail(line, fence);
  line->place = kContent;
  line->matched = line->indent = line->column = 0;
  line->may_close = 0;
  if (line->mode != kPlain) return true;
  const int utf8 = Utf8Step(static_cast<int>(line->utf8), byte);
  line->utf8 = static_cast<uint32_t>(utf8);
  return utf8 != kUtf8Bad;
}

bool Stepper::FenceLineEnd(Line* line) {
  FenceDetail fence = FenceOf(*line);
  if (line->place == kCloseTail || (line->place == kCloseRun && fence.run == fence.length)) {
    if (line->may_close == 0) return false;
    line->leaf = kNone;
    return NewLine(line);
  }
  for (uint32_t i = line->matched; line->place == kIndent && i < Containers(*line); ++i) {
    if (Container(*line, i).at == kQuote) return false;
  }
  Feed('\n');
  fence.run = 0;
  SetDetail(line, fence);
  NewLine(line);
  line->may_close = line->mode == kPlain;
  return true;
}

}  // namespace chimera::markdown
