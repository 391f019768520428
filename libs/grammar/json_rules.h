// The parts every JSON grammar is made of, as rules of one builder: white space, strings, numbers,
// any value. Each is added once, when it is first asked for. Internal to the json mode and the JSON
// Schema compiler.
//
// Generating keeps to what every reader copes with: at most kJsonSpaceMax bytes of white space in a
// row, numbers a double can hold. Checking has all of RFC 8259.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "grammar/machine.h"
#include "grammar/rule_builder.h"

namespace chimera {

inline constexpr uint32_t kJsonSpaceMax = 20;
inline constexpr int kJsonDigitsMax = 15;  // generated before the point, and behind it

// Thread-compatible.
class JsonRules {
 public:
  JsonRules(RuleBuilder* builder, GrammarUse use, bool compact)
      : b_(builder), use_(use), compact_(compact) {
    rules_.fill(kNoRule);
  }

  RuleBuilder* builder() const { return b_; }
  bool checking() const { return use_ == GrammarUse::kCheck; }
  // For free strings, and for strings of which only some are allowed.
  uint8_t free_flags() const;
  uint8_t bound_flags() const;

  // A value with white space around it.
  uint32_t Document(uint32_t value);
  // White space may stand between two places. Nothing else may leave or reach `from`.
  void Space(uint32_t from, uint32_t to);
  // A fresh place of the rule of `from` behind white space.
  uint32_t AfterSpace(uint32_t from);
  // The places of a string that may hold any text: from the first byte behind the quote.
  void FreeText(uint32_t content, uint8_t flags, uint32_t close_to);

  uint32_t AnyValue();
  uint32_t AnyString();
  uint32_t AnyNumber();
  uint32_t AnyObject();
  uint32_t AnyArray();
  uint32_t Boolean();

 private:
  enum Part : uint8_t { kSpace, kValue, kString, kNumber, kObject, kArray, kBoolean, kParts };
  // Whether the rule was there already.
  bool Known(Part part, std::string_view name, uint32_t* rule);
  void Digits(uint32_t from, int at_least, int at_most, uint32_t to);

  RuleBuilder* b_;
  const GrammarUse use_;
  const bool compact_;
  std::array<uint32_t, kParts> rules_;
};

}  // namespace chimera
