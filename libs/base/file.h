// Files: bounded reads, atomic durable writes, read-only maps, digests.
// Every error names the path and what was wrong. Functions here are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

// Reads a whole file; RESOURCE_EXHAUSTED when it is larger than max_bytes, NOT_FOUND when absent.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

// Writes path.tmp, syncs it, renames it over path and syncs the folder: afterwards path holds
// either the old bytes or all of the new ones, also after a crash or on a full disk.
absl::Status WriteFileAtomic(const std::string& path, std::string_view bytes);

// Creates the folder and its parents; OK when it is there already.
absl::Status MakeDirs(const std::string& path);

// A read-only memory map. Immutable; pages are shared between processes, and huge where kernel and
// file system can and the cached file was not read in small pieces before.
class MmapFile {
 public:
  static absl::StatusOr<MmapFile> Open(const std::string& path);
  MmapFile() = default;
  ~MmapFile();
  MmapFile(MmapFile&& other) noexcept;
  MmapFile& operator=(MmapFile&& other) noexcept;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// SHA-256 as 64 lower-case hex digits.
std::string Sha256Hex(std::span<const uint8_t> bytes);
std::string Sha256Hex(std::string_view bytes);

// XXH3 with 64 bits: section checksums and feature hashes.
uint64_t Xxh3(std::span<const uint8_t> bytes);
uint64_t Xxh3(std::string_view bytes);

}  // namespace chimera
