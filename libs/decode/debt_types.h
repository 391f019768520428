// What a text owes its reader (FEATURES S9; math-inference-training D.7): eight kinds of obligation
// that a byte scanner sees opened and discharged.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace chimera {

enum class DebtType : uint8_t {
  kCloseBracket,
  kCloseString,
  kCloseFence,
  kResolvePronoun,
  kFinishList,
  kMaintainTense,
  kCompleteSentence,
  kEndJsonObject,
};
inline constexpr int kDebtTypes = 8;

// "close_bracket", "close_string", ...: the names of the configuration, in this order.
std::string_view DebtName(DebtType type);
std::optional<DebtType> DebtOf(std::string_view name);

// Receives what a scanner finds, in the order of the bytes that decide it.
class DebtSink {
 public:
  virtual ~DebtSink() = default;
  // key: the closing byte of a bracket, string or fence, the kind of a pronoun, the tense, the
  // depth of an object. aux: the length of a fence, the items announced; 0 without.
  virtual void Open(DebtType type, uint8_t key, uint32_t aux) = 0;
  // Of the newest debt with that key that is open; a scanner never discharges what it did not open.
  virtual void Discharge(DebtType type, uint8_t key) = 0;
  // The text acts against a debt, which stays open.
  virtual void Violate(DebtType type) = 0;
};

}  // namespace chimera
