// Markdown: code blocks are closed and hold to the mode their info string names; generated text
// closes its code spans, links and tags on their line and keeps the columns of its tables.
//
// Blocks are found as CommonMark 0.31 finds them, within quotes and lists too: a fence is what its
// parsers take for one, and only a line of its own closes it, never the end of a quote or an item.
// Generated text is kept to where parsers agree: no HTML blocks, no tags with attributes, no empty
// list items, no tabs but in code, and tables whose rows begin with |.
//
// The first item is the line's. Those of the mode within a code block stand beside it, with
// kInnerItem in their `at`: all of them go on, or the text does not.
#include <memory>
#include <utility>
#include <vector>

#include "grammar/markdown_steps.h"

namespace chimera {
namespace markdown {
namespace {

constexpr uint32_t kInnerItem = 1 << 16;
using Items = std::vector<GrammarItem>;

class MarkdownMachine : public Machine {
 public:
  explicit MarkdownMachine(GrammarUse use);
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, Items* out) const override {
    out->push_back(std::bit_cast<GrammarItem>(Line{}));
  }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            Items* out) const override;
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override;

 private:
  void Refine(const std::array<uint8_t, 256>& classes);
  bool StepInner(const Line& before, std::span<const uint8_t> fed, StackPool* stacks, Line* line,
                 Items* inner) const;
  bool Escapes(const Line& line, const Items& inner, bool any, StackPool* stacks) const;
  bool IsStuck(const Line& line, const Items& inner, StackPool* stacks) const;
  static void Feed(const Machine& machine, uint8_t byte, StackPool* stacks, Items* inner);
  uint32_t OpeningClose(const Line& line, const StackPool& stacks) const;
  uint32_t FenceClose(const Line& line, uint32_t inner_close, const StackPool& stacks) const;

  const bool generate_;
  std::array<uint8_t, 256> classes_ = {};
  std::array<std::shared_ptr<const Machine>, kInfoModes> inner_;
  std::array<uint32_t, kInfoModes> start_close_ = {};  // of the empty text
};

MarkdownMachine::MarkdownMachine(GrammarUse use) : generate_(use == GrammarUse::kGenerate) {
  std::array<uint8_t, 256> own = {};
  for (int byte = 0; byte < 256; ++byte) {
    const auto c = static_cast<uint8_t>(byte);
    if (c >= 0x80) {
      own[c] = static_cast<uint8_t>(Utf8ByteKind(c));
    } else if (IsLetter(c)) {
      own[c] = Lower(c);
    } else if (IsDigit(c)) {
      own[c] = c <= '6' ? c : '7';  // h1 to h6
    } else {
      const bool alone =
          std::string_view("\t\n\r !\"'()*+-./:<=>?[\\]_`|~#").find(static_cast<char>(c)) !=
          std::string_view::npos;
      own[c] = alone ? c : c < ' ' ? 13 + 1 : c == 0x7F ? c : '$';
    }
  }
  Refine(own);
  StackPool scratch;
  for (uint32_t mode = 0; mode < kInfoModes; ++mode) {
    inner_[mode] = ModeMachine(GrammarModeOfInfo(mode), use);
    if (mode == kPlain) continue;
    Refine(inner_[mode]->byte_classes());
    Items start;
    inner_[mode]->Start(&scratch, &start);
    std::ranges::sort(start);
    start_close_[mode] = inner_[mode]->CloseBytes(start, scratch);
  }
}

// Splits the classes where the others differ.
void MarkdownMachine::Refine(const std::array<uint8_t, 256>& classes) {
  const std::array<uint8_t, 256> old = classes_;
  int n = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    size_t first = 0;
    while (old[first] != old[byte] || classes[first] != classes[byte]) ++first;
    classes_[byte] = first == byte ? static_cast<uint8_t>(n++) : classes_[first];
  }
}

void MarkdownMachine::Feed(const Machine& machine, uint8_t byte, StackPool* stacks, Items* inner) {
  Items next;
  if (!inner->empty()) machine.Step(*inner, byte, stacks, &next);
  std::ranges::sort(next);
  next.erase(std::unique(next.begin(), next.end()), next.end());
  *inner = std::move(next);
}

void MarkdownMachine::Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
                           Items* out) const {
  const Line before = std::bit_cast<Line>(from[0]);
  Line line = before;
  Stepper stepper(generate_, stacks);
  if (!stepper.Step(&line, byte)) return;
  Items inner;
  if (line.leaf == kFence && line.mode != kPlain) {
    for (GrammarItem item : from.subspan(1)) {
      item.at -= kInnerItem;
      inner.push_back(item);
    }
    if (!StepInner(before, stepper.fed(), stacks, &line, &inner)) return;
  }
  out->push_back(std::bit_cast<GrammarItem>(line));
  for (GrammarItem item : inner) {
    item.at += kInnerItem;
    out->push_back(item);
  }
}

// The items may run out where the line can still close the block.
bool MarkdownMachine::StepInner(const Line& before, std::span<const uint8_t> fed, StackPool* stacks,
                                Line* line, Items* inner) const {
  const Machine& machine = *inner_[line->mode];
  if (before.leaf != kFence) {
    machine.Start(stacks, inner);
    std::ranges::sort(*inner);
    line->may_close = start_close_[line->mode] == 0;
    return true;
  }
  const auto can_end = [&] { return !inner->empty() && machine.CloseBytes(*inner, *stacks) == 0; };
  if (!fed.empty() && fed.back() == '\n') {
    // The end of its last line may belong to the text or not.
    line->may_close = can_end();
    Feed(machine, '\n', stacks, inner);
    line->may_close |= can_end();
  } else {
    for (const uint8_t byte : fed) Feed(machine, byte, stacks, inner);
  }
  if (inner->empty()) return line->may_close != 0 && line->place != kContent;
  return !IsStuck(*line, *inner, stacks);
}

// Whether a byte other than the mark can bring the text within nearer to its end, or keep it there:
// one that shows the line does not close the block, or any.
bool MarkdownMachine::Escapes(const Line& line, const Items& inner, bool any,
                              StackPool* stacks) const {
  const Machine& machine = *inner_[line.mode];
  const uint32_t close = machine.CloseBytes(inner, *stacks);
  for (int byte = any ? 0 : '!'; byte < 128; ++byte) {
    if (byte == MarkOf(line)) continue;
    Items next = inner;
    Feed(machine, static_cast<uint8_t>(byte), stacks, &next);
    if (next.empty()) continue;
    const uint32_t next_close = machine.CloseBytes(next, *stacks);
    if (next_close < close || next_close == 0) return true;
  }
  return false;
}

// Where a line begins like one that closes the block, and the text within may not end: whether it
// could only go on as such a line. Generated text does not get as far as to a whole fence there.
bool MarkdownMachine::IsStuck(const Line& line, const Items& inner, StackPool* stacks) const {
  const FenceDetail fence = FenceOf(line);
  const bool run = line.place == kCloseRun;
  if (line.may_close != 0 || (!run && line.place != kCloseTail)) return false;
  if (fence.run == fence.length || !run) return !Escapes(line, inner, false, stacks);
  if (fence.run + 1 < fence.length) return false;
  const Machine& machine = *inner_[line.mode];
  const uint32_t close = machine.CloseBytes(inner, *stacks);
  if (close == 0 || Escapes(line, inner, true, stacks)) return false;
  if (generate_) return true;
  Items next = inner;
  Feed(machine, MarkOf(line), stacks, &next);
  return next.empty() || machine.CloseBytes(next, *stacks) >= close ||
         !Escapes(line, next, false, stacks);
}

// What the lines of a block begin with, in bytes.
struct Prefix {
  uint32_t all = 0, rest = 0;  // rest: from here on
  uint32_t mark_space = 0;     // 1: a space behind it belongs to the mark of a quote
};

// Of the lowest `containers`.
Prefix PrefixOf(const Line& line, uint32_t containers, const StackPool& stacks) {
  Prefix prefix;
  auto index = static_cast<uint32_t>(stacks.Depth(line.stack));
  bool item_above = false;
  for (uint32_t stack = line.stack; stack != kEmptyStack; stack = stacks.Top(stack).stack) {
    if (--index >= containers) continue;
    const GrammarItem& frame = stacks.Top(stack);
    const bool item = frame.at == kItem;
    if (index + 1 == containers) prefix.mark_space = item ? 0 : 1;
    const uint32_t width = item ? frame.a : 1 + (item_above ? 1 : 0);
    prefix.all += width;
    if (index >= line.matched) prefix.rest += width;
    if (index == line.matched && item) prefix.rest += line.spare_space - line.indent;
    item_above = item;
  }
  return prefix;
}

// Bytes up to where the text within a block ends and up to where the block does, from within a
// line. An end of a line within costs what the next one begins with. slack: see FenceClose.
uint32_t ContentClose(const Prefix& prefix, const FenceDetail& fence, uint32_t length,
                      uint32_t inner, uint32_t slack) {
  const uint32_t line_begin = prefix.all + prefix.mark_space + fence.indent + slack;
  return inner * (line_begin + 1) + 1 + prefix.all + length;
}

uint32_t MarkdownMachine::FenceClose(const Line& line, uint32_t inner_close,
                                     const StackPool& stacks) const {
  const FenceDetail fence = FenceOf(line);
  // A line that begins like one that closes the block may need a byte to show that it does not.
  const uint32_t slack = generate_ ? 0 : 1;
  const auto containers = static_cast<uint32_t>(stacks.Depth(line.stack));
  const Prefix prefix = PrefixOf(line, containers, stacks);
  const uint32_t content = ContentClose(prefix, fence, fence.length, inner_close, slack);
  switch (line.place) {
    case kIndent:
      if (line.may_close != 0) return prefix.rest + fence.length;
      if (line.matched < containers) {
        return prefix.rest + prefix.mark_space + fence.indent + content + slack;
      }
      return line.spare_space + fence.indent - std::min<uint32_t>(fence.indent, line.indent) +
             content + slack;
    case kCloseRun:
      return line.may_close != 0 ? fence.length - fence.run : content + slack;
    case kCloseTail:
      return line.may_close != 0 ? 0 : content + slack;
    default:
      return content;
  }
}

// Of a line that opens a code block.
uint32_t MarkdownMachine::OpeningClose(const Line& line, const StackPool& stacks) const {
  const FenceDetail fence = FenceOf(line);
  const Prefix prefix = PrefixOf(line, line.matched, stacks);
  const bool info = line.place == kInfo;
  const uint32_t length = info ? fence.length : fence.run;
  const uint32_t inner = start_close_[info ? ModeOfInfo(fence) : uint32_t{kPlain}];
  const uint32_t end_line = static_cast<uint32_t>(Utf8Missing(static_cast<int>(line.utf8))) + 1;
  if (inner == 0) return end_line + prefix.all + length;
  return end_line + prefix.all + prefix.mark_space + fence.indent + (generate_ ? 0 : 1) +
         ContentClose(prefix, fence, length, inner, generate_ ? 0 : 1);
}

uint32_t MarkdownMachine::CloseBytes(std::span<const GrammarItem> items,
                                     const StackPool& stacks) const {
  const Line line = std::bit_cast<Line>(items[0]);
  const auto missing = static_cast<uint32_t>(Utf8Missing(static_cast<int>(line.utf8)));
  if (line.leaf == kFence) {
    if (line.mode == kPlain) return missing + FenceClose(line, 0, stacks);
    if (items.size() == 1) return FenceClose(line, 0, stacks);
    Items inner(items.begin() + 1, items.end());
    for (GrammarItem& item : inner) item.at -= kInnerItem;
    return FenceClose(line, inner_[line.mode]->CloseBytes(inner, stacks), stacks);
  }
  const bool run = line.place == kFenceRun;
  if (line.place == kInfo || (run && FenceOf(line).run >= 3)) return OpeningClose(line, stacks);
  if (!generate_) return missing;
  if (run && FenceOf(line).tilde == 0) return 1 + FenceOf(line).run;
  return missing + (line.place == kText ? InlineClose(TextOf(line), line.leaf == kTable) : 0);
}

}  // namespace
}  // namespace markdown

std::shared_ptr<const Machine> MakeMarkdownMachine(GrammarUse use) {
  return std::make_shared<markdown::MarkdownMachine>(use);
}

}  // namespace chimera
