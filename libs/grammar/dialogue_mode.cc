// Dialogue: any well-formed UTF-8 in which no role tag can be forged. Tags are special tokens and
// come by number; what they are spelled with, `<|`, stands nowhere.
#include "grammar/modes.h"
#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

constexpr uint32_t kAfterLess = kUtf8Places;

// One item; `at` is the place within a character, or kAfterLess.
class DialogueMachine : public Machine {
 public:
  DialogueMachine() {
    for (int byte = 0; byte < 256; ++byte) {
      classes_[size_t(byte)] = static_cast<uint8_t>(Utf8ByteKind(static_cast<uint8_t>(byte)) + 2);
    }
    classes_['<'] = 0;
    classes_['|'] = 1;
  }
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override { out->push_back({}); }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool*,
            std::vector<GrammarItem>* out) const override {
    if (from[0].at == kAfterLess && byte == '|') return;
    const int place = Utf8Step(from[0].at == kAfterLess ? 0 : static_cast<int>(from[0].at), byte);
    if (place == kUtf8Bad) return;
    out->push_back({.at = byte == '<' ? kAfterLess : static_cast<uint32_t>(place)});
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool&) const override {
    if (items[0].at == kAfterLess) return 0;
    return static_cast<uint32_t>(Utf8Missing(static_cast<int>(items[0].at)));
  }

 private:
  std::array<uint8_t, 256> classes_;
};

}  // namespace

std::shared_ptr<const Machine> MakeDialogueMachine() { return std::make_shared<DialogueMachine>(); }

}  // namespace chimera
