// Little-endian records of the memory policies: magic, version, fields, and the XXH3-64 of all of
// it as the last eight bytes (docs/formats/evolution-state.md). Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/hypervector.h"

namespace chimera {

inline constexpr size_t kRecordHeadBytes = 16;  // magic 8, version 4, zero 4
inline constexpr size_t kRecordChecksumBytes = 8;

class RecordWriter {
 public:
  // Without a head: fields and checksum only.
  RecordWriter() = default;
  // magic has 8 characters (checked).
  RecordWriter(std::string_view magic, uint32_t version);

  void U8(uint8_t value) { Int(value, 1); }
  void U16(uint16_t value) { Int(value, 2); }
  void U32(uint32_t value) { Int(value, 4); }
  void U64(uint64_t value) { Int(value, 8); }
  void F32(float value);
  void F64(double value);
  void Hyper(const HyperVector& vector);
  void Bytes(std::string_view bytes) { bytes_ += bytes; }
  // bytes, then zeros up to width.
  void Padded(std::string_view bytes, size_t width);

  // Appends the checksum; the writer is empty afterwards.
  std::string Finish();

 private:
  void Int(uint64_t value, int width);
  std::string bytes_;
};

// Reads what a RecordWriter wrote. A read past the end gives zeros; Finish says so. Borrows bytes.
class RecordReader {
 public:
  // what names the record in errors. DATA_LOSS: too short, another magic, wrong checksum.
  // FAILED_PRECONDITION: an unknown version.
  static absl::StatusOr<RecordReader> Open(const char* what, std::string_view bytes,
                                           std::string_view magic, uint32_t version);
  // The same for a record without a head.
  static absl::StatusOr<RecordReader> OpenBare(const char* what, std::string_view bytes);

  uint8_t U8() { return static_cast<uint8_t>(Int(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Int(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Int(4)); }
  uint64_t U64() { return Int(8); }
  float F32();
  double F64();
  HyperVector Hyper();
  std::string_view Bytes(size_t n);
  size_t left() const { return bytes_.size() - at_; }

  // DATA_LOSS when too much or too little was there.
  absl::Status Finish() const;
  // DATA_LOSS "<what>: <field> = <value> is outside <low>..<high>".
  absl::Status OutOfRange(const char* field, double value, double low, double high) const;
  // DATA_LOSS "<what>: <fault>".
  absl::Status Fault(const std::string& fault) const;

 private:
  RecordReader(const char* what, std::string_view bytes) : what_(what), bytes_(bytes) {}
  uint64_t Int(size_t width);

  const char* what_;
  std::string_view bytes_;  // between head and checksum
  size_t at_ = 0;
  bool overrun_ = false;
};

// True for low <= value <= high; false for NaN.
inline bool Within(double value, double low, double high) { return value >= low && value <= high; }

}  // namespace chimera
