#include "cluster/model_transfer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/huge_pages.h"
#include "base/status_macros.h"
#include "model/model.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;

// Everything but the weights is small.
constexpr int64_t kSmallFileBytesMax = 64 << 20;

bool IsHexId(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

absl::Status SystemError(const std::string& what, const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

// Shape of one chunk, whatever happens to it afterwards.
absl::Status CheckChunk(const ModelChunk& chunk) {
  const auto& names = ModelFileNames();
  if (std::find(names.begin(), names.end(), chunk.name) == names.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("file \"", chunk.name.substr(0, 64), "\" is not part of a model"));
  }
  if (chunk.data.size() > kChunkBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("chunk of ", chunk.name, " has ",
                                                   chunk.data.size(), " bytes, the limit is ",
                                                   kChunkBytesMax));
  }
  const int64_t limit = chunk.name == kWeightsFile ? kModelBytesMax : kSmallFileBytesMax;
  if (chunk.file_bytes < 1 || chunk.file_bytes > limit) {
    return absl::InvalidArgumentError(absl::StrCat("file ", chunk.name, " of ", chunk.file_bytes,
                                                   " bytes is outside 1..", limit));
  }
  return absl::OkStatus();
}

absl::Status DigestMismatch(const std::string& name) {
  return absl::DataLossError(absl::StrCat("file ", name, " does not match its SHA-256"));
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError("cannot open", path);
  const int result = ::fsync(fd);
  ::close(fd);
  return result == 0 ? absl::OkStatus() : SystemError("cannot sync", path);
}

}  // namespace

const std::vector<std::string>& ModelFileNames() {
  static const std::vector<std::string>& names =
      *new std::vector<std::string>{kConfigFile, kTokenizerFile, kWeightsFile, kManifestFile};
  return names;
}

absl::StatusOr<ModelSender> ModelSender::Open(const std::string& folder,
                                              const std::vector<std::string>& names) {
  ModelSender sender;
  for (const std::string& name : names) {
    CHIMERA_ASSIGN_OR_RETURN(MmapFile file, MmapFile::Open(folder + "/" + name));
    if (file.bytes().empty()) {
      return absl::DataLossError(absl::StrCat(folder, "/", name, " is empty"));
    }
    if (name == kManifestFile) sender.model_id_ = Sha256Hex(file.bytes());
    sender.names_.push_back(name);
    sender.files_.push_back(std::move(file));
  }
  return sender;
}

bool ModelSender::Next(ModelChunk* chunk) {
  if (file_ == files_.size()) return false;
  const std::span<const uint8_t> bytes = files_[file_].bytes();
  const size_t n = std::min(kChunkBytesMax, bytes.size() - offset_);
  *chunk = ModelChunk{};
  chunk->name = names_[file_];
  chunk->file_bytes = static_cast<int64_t>(bytes.size());
  chunk->data.assign(reinterpret_cast<const char*>(bytes.data()) + offset_, n);
  offset_ += n;
  if (offset_ == bytes.size()) {
    chunk->sha256 = Sha256Hex(bytes);
    offset_ = 0;
    ++file_;
    if (file_ == files_.size()) chunk->final_model_id = model_id_;
  }
  return true;
}

absl::Status FileCollector::Add(const ModelChunk& chunk) {
  CHIMERA_RETURN_IF_ERROR(CheckChunk(chunk));
  if (open_name_.empty()) {
    if (files_.count(chunk.name) > 0) {
      return absl::InvalidArgumentError(absl::StrCat("file ", chunk.name, " was sent twice"));
    }
    bytes_ += chunk.file_bytes;
    if (bytes_ > bytes_max_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("files of ", bytes_, " bytes exceed the limit of ", bytes_max_));
    }
    open_name_ = chunk.name;
    files_[chunk.name];
  }
  std::string& file = files_[open_name_];
  if (chunk.name != open_name_ ||
      file.size() + chunk.data.size() > static_cast<size_t>(chunk.file_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("chunks of file ", open_name_, " do not add up"));
  }
  file += chunk.data;
  if (chunk.sha256.empty()) return absl::OkStatus();
  if (file.size() != static_cast<size_t>(chunk.file_bytes) || Sha256Hex(file) != chunk.sha256) {
    return DigestMismatch(open_name_);
  }
  open_name_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> FileCollector::Finish() {
  if (!open_name_.empty()) {
    return absl::DataLossError(absl::StrCat("file ", open_name_, " ended early"));
  }
  return std::move(files_);
}

ModelReceiver::ModelReceiver(std::string models_dir, std::string part_dir, int64_t bytes_max)
    : models_dir_(std::move(models_dir)), part_dir_(std::move(part_dir)), bytes_max_(bytes_max) {}

absl::StatusOr<std::unique_ptr<ModelReceiver>> ModelReceiver::Create(const std::string& models_dir,
                                                                     int64_t bytes_max) {
  // Unique within the process; the process id keeps two processes with one data folder apart.
  static std::atomic<int> counter{0};
  const std::string part =
      absl::StrCat(models_dir, "/incoming-", ::getpid(), "-", counter.fetch_add(1), ".part");
  CHIMERA_RETURN_IF_ERROR(MakeDirs(part));
  return std::unique_ptr<ModelReceiver>(new ModelReceiver(models_dir, part, bytes_max));
}

ModelReceiver::~ModelReceiver() {
  if (fd_ >= 0) ::close(fd_);
  std::error_code ignored;
  fs::remove_all(part_dir_, ignored);
}

absl::Status ModelReceiver::BeginFile(const ModelChunk& chunk) {
  if (std::find(done_.begin(), done_.end(), chunk.name) != done_.end()) {
    return absl::InvalidArgumentError(absl::StrCat("file ", chunk.name, " was sent twice"));
  }
  // Both terms are at most 2^36 each, for at most four files.
  bytes_declared_ += chunk.file_bytes;
  if (bytes_declared_ > bytes_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("model of ", bytes_declared_, " bytes exceeds the limit of ", bytes_max_));
  }
  const std::string path = part_dir_ + "/" + chunk.name;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd_ < 0) return SystemError("cannot create", path);
  open_name_ = chunk.name;
  open_bytes_ = chunk.file_bytes;
  open_written_ = 0;
  return absl::OkStatus();
}

// The kernel caches what is written by whole huge pages as huge pages, on which weights are read
// faster (docs/experiments.md).
absl::Status ModelReceiver::WritePending(size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    const ssize_t n = ::write(fd_, pending_.data() + at, bytes - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("cannot write", part_dir_ + "/" + open_name_);
    at += static_cast<size_t>(n);
  }
  pending_.erase(0, bytes);
  return absl::OkStatus();
}

absl::Status ModelReceiver::EndFile(const std::string& sha256) {
  const std::string path = part_dir_ + "/" + open_name_;
  CHIMERA_RETURN_IF_ERROR(WritePending(pending_.size()));
  if (open_written_ != open_bytes_) {
    return absl::DataLossError(
        absl::StrCat("file ", open_name_, " has ", open_written_, " of ", open_bytes_, " bytes"));
  }
  if (::fsync(fd_) != 0) return SystemError("cannot sync", path);
  ::close(fd_);
  fd_ = -1;
  CHIMERA_ASSIGN_OR_RETURN(const MmapFile file, MmapFile::Open(path));
  if (Sha256Hex(file.bytes()) != sha256) return DigestMismatch(open_name_);
  done_.push_back(open_name_);
  return absl::OkStatus();
}

absl::Status ModelReceiver::Add(const ModelChunk& chunk) {
  CHIMERA_RETURN_IF_ERROR(CheckChunk(chunk));
  if (!final_model_id_.empty()) {
    return absl::InvalidArgumentError("a chunk follows the one with the final model id");
  }
  if (fd_ < 0) CHIMERA_RETURN_IF_ERROR(BeginFile(chunk));
  if (chunk.name != open_name_ || chunk.file_bytes != open_bytes_ ||
      static_cast<int64_t>(chunk.data.size()) > open_bytes_ - open_written_) {
    return absl::InvalidArgumentError(
        absl::StrCat("chunks of file ", open_name_, " do not add up"));
  }
  pending_ += chunk.data;
  CHIMERA_RETURN_IF_ERROR(WritePending(pending_.size() / kHugePage * kHugePage));
  open_written_ += static_cast<int64_t>(chunk.data.size());
  if (!chunk.sha256.empty()) CHIMERA_RETURN_IF_ERROR(EndFile(chunk.sha256));
  final_model_id_ = chunk.final_model_id;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ModelReceiver::Finish() {
  if (fd_ >= 0) return absl::DataLossError(absl::StrCat("file ", open_name_, " ended early"));
  for (const std::string& name : ModelFileNames()) {
    if (std::find(done_.begin(), done_.end(), name) == done_.end()) {
      return absl::DataLossError(absl::StrCat("the model ended without its file ", name));
    }
  }
  CHIMERA_ASSIGN_OR_RETURN(const MmapFile manifest,
                           MmapFile::Open(part_dir_ + "/" + kManifestFile));
  const std::string id = Sha256Hex(manifest.bytes());
  if (!IsHexId(final_model_id_) || final_model_id_ != id) {
    return absl::DataLossError(absl::StrCat("the manifest's id is ", id, ", the sender said \"",
                                            final_model_id_.substr(0, 64), "\""));
  }
  CHIMERA_RETURN_IF_ERROR(SyncFolder(part_dir_));
  const std::string folder = models_dir_ + "/" + id;
  std::error_code error;
  // The same model again: swap the folders, in case the old copy is damaged. Streams that mapped it
  // keep their pages; the destructor removes it.
  const unsigned flags = fs::exists(folder, error) ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, part_dir_.c_str(), AT_FDCWD, folder.c_str(), flags) != 0) {
    return SystemError("cannot rename to", folder);
  }
  CHIMERA_RETURN_IF_ERROR(SyncFolder(models_dir_));
  return folder;
}

absl::StatusOr<std::string> CopyModel(const std::string& folder, const std::string& models_dir,
                                      int64_t bytes_max) {
  CHIMERA_ASSIGN_OR_RETURN(ModelSender sender, ModelSender::Open(folder, ModelFileNames()));
  CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<ModelReceiver> receiver,
                           ModelReceiver::Create(models_dir, bytes_max));
  ModelChunk chunk;
  while (sender.Next(&chunk)) CHIMERA_RETURN_IF_ERROR(receiver->Add(chunk));
  return receiver->Finish();
}

void RemovePartialModels(const std::string& models_dir) {
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator it(models_dir, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".part") stale.push_back(it->path());
  }
  for (const fs::path& path : stale) fs::remove_all(path, error);
}

}  // namespace chimera
