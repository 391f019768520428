// The structs of docs/formats/b158.md, shared by reader and writer. Little-endian hosts only.
#pragma once

#include <bit>
#include <cstdint>

namespace chimera {

static_assert(std::endian::native == std::endian::little, "file bytes are little endian");

inline constexpr char kB158Magic[8] = {'C', 'H', 'I', 'M', 'B', '1', '5', '8'};
inline constexpr uint32_t kB158Version = 1;
inline constexpr uint32_t kB158ByteOrder = 0x01020304;
inline constexpr uint32_t kB158TensorsMax = 65536;
inline constexpr uint64_t kB158Align = 64;

struct B158Header {
  char magic[8];
  uint32_t version;
  uint32_t byte_order;
  uint64_t file_bytes;
  uint32_t n_tensors;
  uint32_t zero;
  uint64_t table_bytes;
  uint64_t table_checksum;
  uint64_t header_checksum;  // of the 48 bytes before it
  uint64_t zero2;
};
static_assert(sizeof(B158Header) == 64);

struct B158Record {
  char name[56];
  uint32_t kind;
  uint32_t rows;
  uint32_t cols;
  uint32_t zero;
  uint64_t offset;
  uint64_t bytes;
  uint64_t checksum;
};
static_assert(sizeof(B158Record) == 96);

}  // namespace chimera
