// Plain text: any well-formed UTF-8. Brackets and quotes are debts, not constraints.
#include "grammar/modes.h"
#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

// One item; `at` is the place within a character.
class PlainTextMachine : public Machine {
 public:
  PlainTextMachine() {
    for (int byte = 0; byte < 256; ++byte) {
      classes_[size_t(byte)] = static_cast<uint8_t>(Utf8ByteKind(static_cast<uint8_t>(byte)));
    }
  }
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override { out->push_back({}); }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool*,
            std::vector<GrammarItem>* out) const override {
    const int place = Utf8Step(static_cast<int>(from[0].at), byte);
    if (place != kUtf8Bad) out->push_back({.at = static_cast<uint32_t>(place)});
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool&) const override {
    return static_cast<uint32_t>(Utf8Missing(static_cast<int>(items[0].at)));
  }

 private:
  std::array<uint8_t, 256> classes_;
};

}  // namespace

std::shared_ptr<const Machine> MakePlainTextMachine() {
  return std::make_shared<PlainTextMachine>();
}

}  // namespace chimera
