// Shell: POSIX sh and what is common of bash, as bash reads it.
//
// Quotes, expansions, here-documents and compound commands are closed, reserved words count where a
// command may begin. What is generated is read by bash without a complaint; what is checked may
// have more within [[ ]], arithmetic, ${ } and backquotes, of which only the end is found.
#include "grammar/byte_groups.h"
#include "grammar/modes.h"
#include "grammar/shell_closing.h"

namespace chimera {
namespace shell {
namespace {

// Capitals and '_' are told apart: delimiters of here-documents are made of them.
constexpr std::array<uint8_t, 256> kGeneratedClasses = ByteGroups(
    {"\t", "\n", " ",          "!", "\"", "#", "$", "&", "'", "(", ")", "*",      "+", "-",
     "%/", ".",  "0123456789", ":", ";",  "<", "=", ">", "?", "@", "[", "\\",     "]", "^,",
     "~",  "`",  "{",          "|", "}",  "a", "c", "d", "e", "f", "g", "h",      "i", "l",
     "m",  "n",  "o",          "p", "q",  "r", "s", "t", "u", "w", "z", "bjkvxy", "_", "A",
     "B",  "C",  "D",          "E", "F",  "G", "H", "I", "J", "K", "L", "M",      "N", "O",
     "P",  "Q",  "R",          "S", "T",  "U", "V", "W", "X", "Y", "Z"});

// Any of ASCII may be in a delimiter.
constexpr std::array<uint8_t, 256> CheckedClasses() {
  std::array<uint8_t, 256> classes = {};
  for (int byte = 0; byte < 256; ++byte) {
    classes[size_t(byte)] =
        static_cast<uint8_t>(byte < 128 ? byte : 127 + Utf8ByteKind(static_cast<uint8_t>(byte)));
  }
  return classes;
}
constexpr std::array<uint8_t, 256> kCheckedClasses = CheckedClasses();

class ShellMachine : public Machine {
 public:
  explicit ShellMachine(GrammarUse use)
      : generate_(use == GrammarUse::kGenerate),
        classes_(generate_ ? kGeneratedClasses : kCheckedClasses) {}
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override {
    out->push_back({.at = kListStart});
  }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            std::vector<GrammarItem>* out) const override {
    const Next next = Stepper(generate_, stacks).Step(from[0], byte);
    if (next) out->push_back(*next);
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override {
    return ClosingBytes(items[0], generate_, stacks);
  }

 private:
  const bool generate_;
  const std::array<uint8_t, 256>& classes_;
};

}  // namespace
}  // namespace shell

std::shared_ptr<const Machine> MakeShellMachine(GrammarUse use) {
  return std::make_shared<shell::ShellMachine>(use);
}

}  // namespace chimera
