// Rules that call each other, as tables: what JSON Schema, regular expressions, EBNF and the json
// mode compile to.
//
// Each rule is an automaton over bytes with jumps beside its edges: to another place, or through a
// call of a rule. Several readings may be alive at once (the items of a configuration), and since
// stacks are hash-consed, readings that agree about the future are one. So no look-ahead and no
// conflict has to be resolved at compile time, and memory does not grow with the text.
//
// Left recursion would push frames for ever: RuleBuilder turns it into loops (left_recursion.cc).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "grammar/machine.h"

namespace chimera {

inline constexpr uint32_t kNoRule = 0xFFFFFFFFu;
inline constexpr uint32_t kNoPlace = 0xFFFFFFFFu;
inline constexpr uint32_t kUnbounded = 0xFFFFFFFFu;

// From one place to another over one byte.
struct RuleEdge {
  uint8_t low = 0, high = 0;
  uint32_t to = 0;
};

// From one place to another without a byte.
struct RuleJump {
  enum class Kind : uint8_t {
    kEmpty,       // nothing else
    kCall,        // once rule `arg` has been read
    kCountUp,     // adds 1 to register a; not when it has reached `arg`
    kCountAbove,  // only when register a is at least `arg`
    kSee,         // sets bit `arg` (0..63) of the registers; not when it is set
    kSeen,        // only when all bits of required mask number `arg` are set
    // kSee in the registers of the frame below, the caller's; ends the rule, and `to` is its end.
    kSeeBelow,
  };
  Kind kind = Kind::kEmpty;
  uint32_t to = 0;
  uint32_t arg = 0;
};

// What is special about a place.
enum RulePlaceFlag : uint8_t {
  kPlaceFinal = 1,  // the rule may end here
  // Nothing else: a call that returns here needs no frame.
  kPlaceTail = 2,
  // Within a JSON string. Edges read the bytes of the string's value; escapes are decoded before,
  // the closing quote leads to close_to.
  kPlaceString = 4,
  // Of a string: arriving here over an edge ends a character, register a counts them.
  kPlaceCounted = 8,
  // Of a string: any escape may be written. Without it only characters that JSON cannot hold as
  // they are.
  kPlaceAnyEscape = 16,
  // Of a string: escaped halves of surrogate pairs may stand alone. They count as U+FFFD.
  kPlaceLoneSurrogates = 32,
  // Of a string: between two characters, where an escape may begin.
  kPlaceBetween = 64,
  // Of a string: any characters may follow one another from here (free_places.h).
  kPlaceFree = 128,
};

struct RulePlace {
  uint32_t first_edge = 0, first_jump = 0;
  uint32_t edges = 0, jumps = 0;
  uint8_t flags = 0;
  uint16_t close_frames = 0;  // that the shortest way to the end of the rule pushes
  uint32_t rule = 0;
  uint32_t close_to = kNoPlace;  // after the closing quote; kNoPlace: the string may not end here
  uint32_t close_bytes = 0;      // to the end of the rule, counters and masks aside
};

struct RuleInfo {
  uint32_t start = 0;
  uint32_t count_min = 0;           // what register a has to reach, of a counting rule
  uint32_t count_max = kUnbounded;  // of strings: characters
  uint32_t unit_bytes = 0;          // that one more count takes
  uint32_t free_close_bytes = 0;    // the most of its kPlaceFree places
};

inline constexpr uint32_t kDonePlace = 0;  // the text has all been read; no way leads on

// Immutable once built; plain data (docs/formats/fstpack.md says how it is stored).
struct RuleTables {
  std::vector<RulePlace> places;
  std::vector<RuleEdge> edges;  // of a place together
  std::vector<RuleJump> jumps;  // of a place together
  std::vector<RuleInfo> rules;
  std::vector<uint64_t> required;  // the masks of kSeen
  uint32_t root = 0;
  std::array<uint8_t, 256> classes = {};
};

// The machine of some tables. Closing figures hold without kSee and kSeen, which only checking
// uses. Immutable, thread-safe.
class RuleMachine : public Machine {
 public:
  explicit RuleMachine(RuleTables tables) : tables_(std::move(tables)) {}
  const RuleTables& tables() const { return tables_; }
  const RuleTables* rule_tables() const override { return &tables_; }

  const std::array<uint8_t, 256>& byte_classes() const override { return tables_.classes; }
  void Start(StackPool* stacks, std::vector<GrammarItem>* out) const override;
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            std::vector<GrammarItem>* out) const override;
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override;
  ContentRun StringContent(std::span<const GrammarItem> items,
                           const StackPool& stacks) const override;

 private:
  void Close(size_t first, StackPool* stacks, std::vector<GrammarItem>* out) const;
  void Jump(const GrammarItem& item, const RuleJump& jump, StackPool* stacks,
            std::vector<GrammarItem>* out) const;
  // Whether an item can still be completed within kGrammarDepthMax frames.
  bool Fits(const GrammarItem& item, const StackPool& stacks) const {
    const int frames = tables_.places[item.at].close_frames;
    return frames == 0 || stacks.Depth(item.stack) + frames <= kGrammarDepthMax;
  }
  uint32_t ItemClose(const GrammarItem& item, const StackPool& stacks) const;
  uint32_t StackClose(uint32_t stack, const StackPool& stacks) const;

  const RuleTables tables_;
};

}  // namespace chimera
