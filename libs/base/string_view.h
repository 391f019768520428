// Debian's Abseil is built with its own string_view; these two convert, and nothing else should.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace chimera {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace chimera
