// The one file that holds what a user's model has learned (math-inference-training D.9; byte by
// byte in docs/formats/evolution-state.md): the last two images, each a set of sections with
// checksums and an epoch that only grows. A new image replaces the older of the two in a copy of
// the file, which is synced and renamed over it. So a crash at any moment leaves one of the last
// two epochs, and so does any one damaged byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

// A section a mechanism; kGood...: its copy in the last good snapshot.
enum class StateSection : uint32_t {
  kFactPool = 1,
  kSafety = 4,
  kGoodFactPool = 17,
  kGoodCases = 18,
  kGoodGuidelines = 19,
};

inline constexpr size_t kStateSectionBytesMax = size_t{64} << 20;
inline constexpr size_t kStateFileBytesMax = size_t{512} << 20;

struct StateImage {
  uint64_t epoch = 0;  // 0: nothing was written yet, no sections
  std::map<StateSection, std::string> sections;

  bool operator==(const StateImage&) const = default;
};

// Slot A and slot B as bytes; the epochs differ unless both are 0 (checked).
std::string EncodeStateFile(const StateImage& a, const StateImage& b);

struct StateFileContent {
  StateImage newest;        // of those that are whole
  uint64_t last_epoch = 0;  // ever written, also when that image is damaged
  int slot = 0;             // where newest lies: 0 or 1
};

// DATA_LOSS when neither slot is whole; FAILED_PRECONDITION for an unknown version.
absl::StatusOr<StateFileContent> DecodeStateFile(std::string_view bytes);

// The file of a user that has learned nothing.
const std::string& EmptyStateFile();

// Erases everything in a file, whatever it holds, reads it again and returns its SHA-256, which is
// that of EmptyStateFile().
absl::StatusOr<std::string> ResetStateFile(const std::string& path);

// Thread-compatible; one writer a file.
class StateFile {
 public:
  // A file that is not there is empty. Errors as DecodeStateFile and ReadFile.
  static absl::StatusOr<StateFile> Open(const std::string& path);

  const StateImage& image() const { return content_.newest; }

  // OK: the sections are on disk under epoch last + 1. After an error the file holds what it held
  // (or, when only the folder could not be synced, the new image). INVALID_ARGUMENT when a section
  // is larger than kStateSectionBytesMax; otherwise as WriteFileAtomic.
  absl::Status Write(std::map<StateSection, std::string> sections);
  // ResetStateFile.
  absl::StatusOr<std::string> Reset();

 private:
  explicit StateFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
  StateFileContent content_;
};

}  // namespace chimera
