// A model folder as a sequence of chunks, and back (DESIGN D22). Nothing is believed: names come
// from a fixed set, sizes are bounded before a byte is written, every file has a digest and the
// whole has the model id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"

namespace chimera {

inline constexpr size_t kChunkBytesMax = 1 << 20;
inline constexpr int64_t kModelBytesMax = int64_t{64} << 30;

// proto chimera.knot.v1.FileChunk without the proto.
struct ModelChunk {
  std::string name;
  int64_t file_bytes = 0;
  std::string data;
  std::string sha256;          // on a file's last chunk
  std::string final_model_id;  // on the very last chunk
};

// The files a model folder may hold.
const std::vector<std::string>& ModelFileNames();

// Reads a folder chunk by chunk. Thread-compatible.
class ModelSender {
 public:
  // names: which files, in this order. NOT_FOUND names the missing one.
  static absl::StatusOr<ModelSender> Open(const std::string& folder,
                                          const std::vector<std::string>& names);

  // False after the last chunk.
  bool Next(ModelChunk* chunk);

 private:
  ModelSender() = default;
  std::vector<std::string> names_;
  std::vector<MmapFile> files_;
  std::string model_id_;  // empty when the manifest is not among the names
  size_t file_ = 0;
  size_t offset_ = 0;
};

// Collects small files in memory; for FetchModel. Thread-compatible.
class FileCollector {
 public:
  explicit FileCollector(int64_t bytes_max) : bytes_max_(bytes_max) {}
  absl::Status Add(const ModelChunk& chunk);
  // Every file complete and its digest right.
  absl::StatusOr<std::map<std::string, std::string>> Finish();

 private:
  const int64_t bytes_max_;
  int64_t bytes_ = 0;
  std::string open_name_;
  std::map<std::string, std::string> files_;
};

// Writes <models_dir>/incoming-<n>.part and renames it to <models_dir>/<model id> when everything
// is there, digests match and all is synced. Thread-compatible.
class ModelReceiver {
 public:
  // bytes_max is over all files together.
  static absl::StatusOr<std::unique_ptr<ModelReceiver>> Create(const std::string& models_dir,
                                                               int64_t bytes_max);
  ~ModelReceiver();  // removes what is not finished

  absl::Status Add(const ModelChunk& chunk);
  // The folder it became; a folder of that id that was there already is replaced.
  absl::StatusOr<std::string> Finish();

 private:
  ModelReceiver(std::string models_dir, std::string part_dir, int64_t bytes_max);
  absl::Status BeginFile(const ModelChunk& chunk);
  absl::Status WritePending(size_t bytes);
  absl::Status EndFile(const std::string& sha256);

  const std::string models_dir_;
  const std::string part_dir_;
  const int64_t bytes_max_;
  int64_t bytes_declared_ = 0;
  std::vector<std::string> done_;
  int fd_ = -1;
  std::string open_name_;
  int64_t open_bytes_ = 0;
  int64_t open_written_ = 0;  // with what is pending
  std::string pending_;       // less than a huge page, after Add
  std::string final_model_id_;
};

// Copies a model folder into models_dir under its id, through sender and receiver.
absl::StatusOr<std::string> CopyModel(const std::string& folder, const std::string& models_dir,
                                      int64_t bytes_max);

// Removes what an interrupted transfer left behind.
void RemovePartialModels(const std::string& models_dir);

}  // namespace chimera
