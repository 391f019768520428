#include "memory/record.h"

#include <algorithm>
#include <array>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace chimera {

RecordWriter::RecordWriter(std::string_view magic, uint32_t version) {
  CHIMERA_CHECK(magic.size() == 8);
  bytes_ = magic;
  U32(version);
  U32(0);
}

void RecordWriter::Int(uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
}

void RecordWriter::F32(float value) { U32(std::bit_cast<uint32_t>(value)); }

void RecordWriter::F64(double value) { U64(std::bit_cast<uint64_t>(value)); }

void RecordWriter::Hyper(const HyperVector& vector) {
  for (const uint8_t byte : ToBytes(vector)) bytes_.push_back(static_cast<char>(byte));
}

void RecordWriter::Padded(std::string_view bytes, size_t width) {
  CHIMERA_CHECK(bytes.size() <= width);
  bytes_ += bytes;
  bytes_.append(width - bytes.size(), '\0');
}

std::string RecordWriter::Finish() {
  U64(Xxh3(bytes_));
  return std::move(bytes_);
}

absl::StatusOr<RecordReader> RecordReader::OpenBare(const char* what, std::string_view bytes) {
  if (bytes.size() < kRecordChecksumBytes) {
    return absl::DataLossError(absl::StrCat(what, " of ", bytes.size(), " bytes has no checksum"));
  }
  RecordReader in(what, bytes);
  const std::string_view body = in.Bytes(bytes.size() - kRecordChecksumBytes);
  if (in.U64() != Xxh3(body)) {
    return absl::DataLossError(absl::StrCat(what, " has a wrong checksum"));
  }
  return RecordReader(what, body);
}

absl::StatusOr<RecordReader> RecordReader::Open(const char* what, std::string_view bytes,
                                                std::string_view magic, uint32_t version) {
  if (bytes.substr(0, magic.size()) != magic) {
    return absl::DataLossError(absl::StrCat(what, " of ", bytes.size(),
                                            " bytes does not begin with ", std::string(magic)));
  }
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in, OpenBare(what, bytes));
  in.Bytes(magic.size());
  const uint32_t found = in.U32(), zero = in.U32();
  CHIMERA_RETURN_IF_ERROR(in.overrun_ ? in.Fault("it has no head") : absl::OkStatus());
  if (found != version) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, " has version ", found, "; known is ", version));
  }
  if (zero != 0) return in.Fault("bytes 12..15 are not zero");
  return in;
}

uint64_t RecordReader::Int(size_t width) {
  uint64_t value = 0;
  const std::string_view bytes = Bytes(width);
  for (size_t i = 0; i < bytes.size(); ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  return value;
}

float RecordReader::F32() { return std::bit_cast<float>(U32()); }

double RecordReader::F64() { return std::bit_cast<double>(U64()); }

HyperVector RecordReader::Hyper() {
  std::array<uint8_t, kHyperBytes> image{};
  const std::string_view bytes = Bytes(kHyperBytes);
  std::copy(bytes.begin(), bytes.end(), image.begin());
  return FromBytes(image);
}

std::string_view RecordReader::Bytes(size_t n) {
  if (n > left()) {
    overrun_ = true;
    at_ = bytes_.size();
    return {};
  }
  at_ += n;
  return bytes_.substr(at_ - n, n);
}

absl::Status RecordReader::Finish() const {
  if (overrun_) return Fault("it ends too early");
  if (left() > 0) return Fault(absl::StrCat(left(), " bytes too many"));
  return absl::OkStatus();
}

absl::Status RecordReader::OutOfRange(const char* field, double value, double low,
                                      double high) const {
  return Fault(absl::StrCat(field, " = ", value, " is outside ", low, "..", high));
}

absl::Status RecordReader::Fault(const std::string& fault) const {
  return absl::DataLossError(absl::StrCat(what_, ": ", fault));
}

}  // namespace chimera
