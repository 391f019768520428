// What a grammar is to the engine: a machine over bytes.
//
// A configuration is a sorted set of items; an item is a place in the machine, two registers and a
// stack. Frames of stacks are hash-consed (StackPool): equal stacks have equal numbers, so a whole
// configuration can be compared, stored and forked as a few words. StateTable gives each different
// configuration one number, and everything above works on those: a state is all that decides which
// bytes may follow.
//
// Every configuration that is not empty can be completed. A machine never enters one that cannot:
// it is what "text cannot break its grammar" rests on.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace chimera {

inline constexpr uint32_t kEmptyStack = 0;
inline constexpr int kGrammarDepthMax = 4096;  // frames of a stack; deeper ones cannot be pushed
inline constexpr int kItemsMax = 256;          // items of a configuration: how ambiguous it may be

// One live reading of the text so far, or one frame below it: the same four words (128 bits).
// Registers are values: only `stack` may hold the number of a stack. A name that has to be matched
// later (a here-document's end) is a row of frames, one a byte.
struct GrammarItem {
  uint32_t at = 0;               // place in the machine
  uint32_t a = 0, b = 0;         // registers: counters, columns, names
  uint32_t stack = kEmptyStack;  // the frames below
  auto operator<=>(const GrammarItem&) const = default;
};

// Frames, each stored once. Frames are never removed. Thread-compatible.
class StackPool {
 public:
  StackPool();
  // The number of the stack with this frame on top of frame.stack. The depth is not checked.
  uint32_t Push(const GrammarItem& frame);
  const GrammarItem& Top(uint32_t stack) const { return frames_[stack]; }
  // Frames of a stack; 0 for kEmptyStack.
  int Depth(uint32_t stack) const { return depths_[stack]; }
  bool Full(uint32_t stack) const { return Depth(stack) >= kGrammarDepthMax; }
  int64_t bytes() const;

 private:
  void Grow();

  std::vector<GrammarItem> frames_;
  std::vector<uint16_t> depths_;
  std::vector<uint32_t> table_;  // open addressing; 0 is free
};

// What text a recognizer is asked about. Caps on whitespace, the order of properties and places
// where two lexers could disagree bind what is generated; what is checked has all the language.
enum class GrammarUse { kGenerate, kCheck };

// How many characters of a JSON string's content may follow one another, whichever they are.
struct ContentRun {
  static constexpr uint32_t kEndless = 0xFFFFFFFFu;
  uint32_t chars = 0;
  bool exact = false;        // and never more of them
  uint32_t close_bytes = 0;  // no place on the way is farther from an end
};

struct RuleTables;  // rules.h

// Immutable, thread-safe.
class Machine {
 public:
  virtual ~Machine() = default;
  // Bytes of one class behave alike in every configuration. Classes count from 0.
  virtual const std::array<uint8_t, 256>& byte_classes() const = 0;
  // The configuration of the empty text; never empty.
  virtual void Start(StackPool* stacks, std::vector<GrammarItem>* out) const = 0;
  // Appends the items after one more byte, in any order, repeated or not. None: no text of the
  // language goes on like that.
  virtual void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
                    std::vector<GrammarItem>* out) const = 0;
  // In how many bytes the text can be brought to an end: 0 exactly where it may end, and from any
  // other configuration some byte leads to one with less.
  virtual uint32_t CloseBytes(std::span<const GrammarItem> items,
                              const StackPool& stacks) const = 0;
  // Characters but the control characters, the quote and the backslash: what a machine knows
  // without trying. 0 characters: nothing is known.
  virtual ContentRun StringContent(std::span<const GrammarItem>, const StackPool&) const {
    return {};
  }
  // What the machine is made of, when that is tables; null when it is code.
  virtual const RuleTables* rule_tables() const { return nullptr; }
};

}  // namespace chimera
