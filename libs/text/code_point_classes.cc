#include "text/unicode_classes.h"

namespace chimera {
namespace {

constexpr uint32_t kCodePoints = 0x110000;
constexpr uint32_t kAlternating = 8;

}  // namespace

const CodePointClasses& CodePointClasses::Get() {
  static const CodePointClasses* const instance = new CodePointClasses();
  return *instance;
}

CodePointClasses::CodePointClasses() : classes_(kCodePoints) {
  for (int i = 0; i < kUnicodeRunCount; ++i) {
    const uint32_t first = kUnicodeRuns[i] >> 4;
    const uint32_t last = i + 1 < kUnicodeRunCount ? kUnicodeRuns[i + 1] >> 4 : kCodePoints;
    const uint32_t kind = kUnicodeRuns[i] & 15;
    for (uint32_t c = first; c < last; ++c) {
      classes_[c] = static_cast<CharClass>(kind == kAlternating ? 1 + ((c - first) & 1) : kind);
    }
  }
}

}  // namespace chimera
