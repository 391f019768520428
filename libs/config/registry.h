// The coverage registry (FEATURES C2): every leaf key of a configuration is in exactly one set.
//   claimed  code reads the value and acts on it (recorded by the reader itself)
//   pending  the feature that will act on it is named; until then the value has no effect
//   note     prose, references and labels, with the reason why no code reads it
// docs/config.md is generated from here. Functions are thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "config/json_reader.h"

namespace chimera {

enum class KeyRole : uint8_t { kClaimed, kNote, kPending };

// One key that no reader claims. Objects in arrays are addressed by name:
// "training.phases[sft].lr".
struct ListedKey {
  std::string path;
  KeyRole role = KeyRole::kNote;
  // 's' string, 'i' integer, 'n' number, 'b' bool, 'a' array, 'x' string or array.
  char type = 's';
  std::string feature;  // pending: an id of the feature list ("M12"); otherwise empty
  std::string why;
};

struct KeyEntry {
  std::string path;
  KeyRole role = KeyRole::kNote;
  std::string value;    // as JSON
  std::string feature;  // pending only
  std::string where;    // claimed: the code it acts in; pending, note: why
};

// All of them.
const std::vector<ListedKey>& ListedKeys();

// Keys that code reads and no shipped configuration has, with the value their absence stands for.
const std::vector<KeyEntry>& OptionalKeys();

// OK when every leaf is claimed or listed and every listed leaf has its type. An unknown key and a
// wrong type are INVALID_ARGUMENT with the key path; a key in two sets is INTERNAL.
absl::StatusOr<std::vector<KeyEntry>> CoverLeaves(const std::vector<Leaf>& leaves,
                                                  const std::vector<Claim>& claims);

// The coverage of a loaded configuration, in file order.
absl::StatusOr<std::vector<KeyEntry>> Coverage(const Config& config);

// docs/config.md: one row a key, with the value in `config`; keys that only `other` (an earlier
// version, still loadable) has, and those of OptionalKeys, follow in tables of their own.
absl::StatusOr<std::string> CoverageMarkdown(const Config& config, const Config& other);

}  // namespace chimera
