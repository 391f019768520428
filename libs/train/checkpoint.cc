#include "train/checkpoint.h"

#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "config/recipe.h"

namespace chimera {
namespace {

constexpr char kMagic[8] = {'C', 'H', 'I', 'M', 'C', 'K', 'P', 'T'};
constexpr uint32_t kVersion = 2;
constexpr size_t kPrefixBytes = 24;  // magic, version, zero, checksum
constexpr size_t kFileBytesMax = size_t{64} << 30;

class Writer {
 public:
  template <typename T>
  void Value(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  template <typename T>
  void Array(const std::vector<T>& values) {
    Value(static_cast<uint64_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void Text(const std::string& text) {
    Value(static_cast<uint64_t>(text.size()));
    bytes_ += text;
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Every read is checked against what is left; one failure makes all later reads fail.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  template <typename T>
  void Value(T* value) {
    if (!Take(sizeof(T))) return;
    std::memcpy(value, taken_.data(), sizeof(T));
  }
  template <typename T>
  void Array(std::vector<T>* values) {
    uint64_t count = 0;
    Value(&count);
    if (count > left_.size() / sizeof(T) || !Take(count * sizeof(T))) {
      ok_ = false;
      return;
    }
    values->resize(count);
    if (count > 0) std::memcpy(values->data(), taken_.data(), taken_.size());
  }
  void Text(std::string* text) {
    uint64_t count = 0;
    Value(&count);
    if (Take(count)) *text = std::string(taken_);
  }
  bool Done() const { return ok_ && left_.empty(); }

 private:
  bool Take(uint64_t n) {
    if (!ok_ || n > left_.size()) {
      ok_ = false;
      return false;
    }
    taken_ = left_.substr(0, n);
    left_.remove_prefix(n);
    return true;
  }
  std::string_view left_;
  std::string_view taken_;
  bool ok_ = true;
};

}  // namespace

absl::Status SaveCheckpoint(const std::string& path, const Checkpoint& c) {
  Writer body;
  body.Value(c.recipe_hash);
  body.Value(c.step);
  body.Value(c.seconds);
  body.Text(c.platform);
  body.Text(c.optimizer);
  body.Text(c.init_model);
  body.Array(c.values);
  body.Array(c.m);
  body.Array(c.v);
  body.Array(c.states);
  body.Array(c.balance);
  body.Array(c.curve);
  const std::string bytes = body.Take();
  Writer file;
  for (char letter : kMagic) file.Value(letter);
  file.Value(kVersion);
  file.Value(uint32_t{0});
  file.Value(Xxh3(bytes));
  return WriteFileAtomic(path, file.Take() + bytes);
}

absl::StatusOr<Checkpoint> LoadCheckpoint(const std::string& path) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kFileBytesMax));
  auto corrupt = [&](const char* fault) {
    return absl::DataLossError(absl::StrCat(path, ": ", fault));
  };
  if (file.size() < kPrefixBytes || std::memcmp(file.data(), kMagic, sizeof(kMagic)) != 0) {
    return corrupt("not a training checkpoint");
  }
  uint32_t version;
  uint64_t checksum;
  std::memcpy(&version, file.data() + 8, sizeof(version));
  std::memcpy(&checksum, file.data() + 16, sizeof(checksum));
  if (version == 0 || version > kVersion) return corrupt("unsupported checkpoint version");
  const std::string_view body = std::string_view(file).substr(kPrefixBytes);
  if (Xxh3(body) != checksum) return corrupt("checkpoint checksum mismatch");
  Checkpoint c;
  c.optimizer = OptimizerName(OptimizerKind::kAdamW);
  Reader reader(body);
  reader.Value(&c.recipe_hash);
  reader.Value(&c.step);
  reader.Value(&c.seconds);
  reader.Text(&c.platform);
  if (version >= 2) {
    reader.Text(&c.optimizer);
    reader.Text(&c.init_model);
  }
  reader.Array(&c.values);
  reader.Array(&c.m);
  reader.Array(&c.v);
  reader.Array(&c.states);
  if (version >= 2) reader.Array(&c.balance);
  reader.Array(&c.curve);
  if (!reader.Done()) return corrupt("checkpoint sizes do not add up");
  return c;
}

}  // namespace chimera
