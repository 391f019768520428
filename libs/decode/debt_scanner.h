// Finds debts in text, byte by byte: nothing but the bytes so far decides what is found, so it does
// not matter in which pieces they come. Two scanners: of prose (text_debts.cc) and of code
// (code_debts.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "decode/debt_types.h"
#include "grammar/modes.h"

namespace chimera {

inline constexpr int kDebtDepthMax =
    4096;  // brackets and objects within each other; deeper: not seen

// Thread-compatible.
class DebtScanner {
 public:
  virtual ~DebtScanner() = default;
  virtual void Push(uint8_t byte, DebtSink* sink) = 0;
  // The text stands within a sentence, behind a word that no sentence ends with ("of the").
  virtual bool Dangling() const { return false; }

  void Push(std::string_view bytes, DebtSink* sink) {
    for (const char c : bytes) Push(static_cast<uint8_t>(c), sink);
  }
};

// Prose for plain_text, dialogue and markdown, code for the others.
bool IsProse(GrammarMode mode);
std::unique_ptr<DebtScanner> MakeDebtScanner(GrammarMode mode);
std::unique_ptr<DebtScanner> MakeProseScanner();
std::unique_ptr<DebtScanner> MakeCodeScanner(GrammarMode mode);

}  // namespace chimera
