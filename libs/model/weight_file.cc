#include "model/weight_file.h"

#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "model/b158_format.h"
#include "model/layout.h"
#include "model/ternary_switches.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

std::string EncodePayload(const TensorSpec& spec, std::span<const float> w) {
  std::string payload(PayloadBytes(spec.kind, spec.rows, spec.cols), '\0');
  char* out = payload.data();
  switch (spec.kind) {
    case TensorKind::kFloat:
      std::memcpy(out, w.data(), payload.size());
      break;
    case TensorKind::kTernary:
    case TensorKind::kTernaryBase3:
    case TensorKind::kTernarySherry:
      EncodeTernary(spec, w.data(), reinterpret_cast<uint8_t*>(out));
      break;
    case TensorKind::kGroupedRows6:
    case TensorKind::kGroupedRows4: {
      const int bits = GroupedBits(spec.kind);
      QuantizeGroupedRows(
          w.data(), spec.rows, spec.cols, bits, reinterpret_cast<uint8_t*>(out),
          reinterpret_cast<uint16_t*>(out + GroupedCodeBytes(bits, spec.rows, spec.cols)));
      break;
    }
    case TensorKind::kInt8Rows: {
      const size_t code_bytes = Int8RowBytes(spec.rows, spec.cols);
      QuantizeInt8Rows(w.data(), spec.rows, spec.cols, reinterpret_cast<int8_t*>(out),
                       reinterpret_cast<float*>(out + code_bytes));
      break;
    }
  }
  return payload;
}

void PadTo(uint64_t align, std::string* file) {
  file->resize((file->size() + align - 1) / align * align, '\0');
}

}  // namespace

std::string EncodeTensors(const std::vector<TensorSpec>& specs,
                          const std::function<std::string(size_t index)>& payload_of) {
  std::vector<B158Record> table(specs.size());
  const size_t table_bytes = table.size() * sizeof(B158Record);
  std::string file(sizeof(B158Header) + table_bytes, '\0');
  for (size_t i = 0; i < specs.size(); ++i) {
    const TensorSpec& spec = specs[i];
    PadTo(kB158Align, &file);
    const std::string payload = payload_of(i);
    CHIMERA_CHECK(payload.size() == PayloadBytes(spec.kind, spec.rows, spec.cols));
    B158Record& record = table[i];
    CHIMERA_CHECK(spec.name.size() < sizeof(record.name));
    std::memcpy(record.name, spec.name.data(), spec.name.size());
    record.kind = static_cast<uint32_t>(spec.kind);
    record.rows = static_cast<uint32_t>(spec.rows);
    record.cols = static_cast<uint32_t>(spec.cols);
    record.offset = file.size();
    record.bytes = payload.size();
    record.checksum = Xxh3(payload);
    file += payload;
  }
  B158Header header = {};
  std::memcpy(header.magic, kB158Magic, sizeof(header.magic));
  header.version = kB158Version;
  header.byte_order = kB158ByteOrder;
  header.file_bytes = file.size();
  header.n_tensors = static_cast<uint32_t>(table.size());
  header.table_bytes = table_bytes;
  std::memcpy(file.data() + sizeof(header), table.data(), table_bytes);
  header.table_checksum = Xxh3(std::string_view(file).substr(sizeof(header), table_bytes));
  header.header_checksum = Xxh3(std::string_view(reinterpret_cast<const char*>(&header), 48));
  std::memcpy(file.data(), &header, sizeof(header));
  return file;
}

std::string EncodeWeights(const ModelConfig& config, const ParameterSource& source) {
  const std::vector<TensorSpec> specs = ModelLayout(config);
  return EncodeTensors(specs, [&](size_t i) {
    const TensorSpec& spec = specs[i];
    const std::span<const float> w = source(spec.name);
    CHIMERA_CHECK(w.size() == static_cast<size_t>(spec.rows) * static_cast<size_t>(spec.cols));
    return EncodePayload(spec, w);
  });
}

absl::Status WriteWeights(const std::string& path, const ModelConfig& config,
                          const ParameterSource& source) {
  return WriteFileAtomic(path, EncodeWeights(config, source));
}

}  // namespace chimera
