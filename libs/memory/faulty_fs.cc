#include "memory/faulty_fs.h"

#include <filesystem>
#include <utility>

#include "base/philox.h"

namespace chimera {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

std::string FolderOf(const std::string& file) {
  return std::filesystem::path(file).parent_path().string();
}

class WrittenFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WrittenFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, FaultyFs* fs)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), fs_(fs) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    return Grown(data.size(), [&] { return target()->Append(data, options, debug); });
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    return Grown(data.size(), [&] { return target()->Append(data, options, info, debug); });
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    IOStatus status = fs_->Check(false);
    if (status.ok()) status = target()->Truncate(size, options, debug);
    if (status.ok()) fs_->Truncate(name_, size);
    return status;
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Synced(target()->Flush(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced(target()->Flush(options, debug));
  }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();  // promises nothing
  }

 private:
  template <typename Append>
  IOStatus Grown(size_t bytes, Append append) {
    IOStatus status = fs_->Check(true);
    if (status.ok()) status = append();
    if (status.ok()) fs_->Grow(name_, bytes);
    return status;
  }
  // The bytes need not reach the real disk: only this process ends.
  IOStatus Synced(IOStatus flushed) {
    if (!flushed.ok()) return flushed;
    const IOStatus status = fs_->Check(false);
    if (status.ok()) fs_->MarkSynced(name_);
    return status;
  }

  const std::string name_;
  FaultyFs* const fs_;
};

class SyncedFolder final : public rocksdb::FSDirectoryWrapper {
 public:
  SyncedFolder(std::unique_ptr<rocksdb::FSDirectory>&& folder, std::string name, FaultyFs* fs)
      : FSDirectoryWrapper(std::move(folder)), name_(std::move(name)), fs_(fs) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return Synced(); }
  IOStatus FsyncWithDirOptions(const IOOptions&, IODebugContext*,
                               const rocksdb::DirFsyncOptions&) override {
    return Synced();
  }

 private:
  IOStatus Synced() {
    const IOStatus status = fs_->Check(false);
    if (status.ok()) fs_->MarkFolderSynced(name_);
    return status;
  }

  const std::string name_;
  FaultyFs* const fs_;
};

}  // namespace

FaultyFs::FaultyFs() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}

void FaultyFs::SetMode(FaultMode mode) {
  MutexLock lock(&mutex_);
  mode_ = mode;
  until_power_off_ = -1;
}

void FaultyFs::PowerOffAfter(int64_t operations) {
  MutexLock lock(&mutex_);
  until_power_off_ = operations;
}

bool FaultyFs::powered_off() {
  MutexLock lock(&mutex_);
  return mode_ == FaultMode::kPowerOff;
}

IOStatus FaultyFs::Check(bool takes_space) {
  MutexLock lock(&mutex_);
  if (until_power_off_ >= 0 && until_power_off_-- == 0) mode_ = FaultMode::kPowerOff;
  switch (mode_) {
    case FaultMode::kNone:
      return IOStatus::OK();
    case FaultMode::kNoSpace: {
      if (!takes_space) return IOStatus::OK();
      IOStatus full = IOStatus::NoSpace("No space left on device");
      full.SetRetryable(true);  // as RocksDB's own file system says it
      return full;
    }
    case FaultMode::kReadOnly:
      return IOStatus::IOError("Read-only file system");
    case FaultMode::kPowerOff:
      return IOStatus::IOError("the power is off");
  }
  return IOStatus::OK();
}

void FaultyFs::Grow(const std::string& file, uint64_t bytes) {
  MutexLock lock(&mutex_);
  files_[file].size += bytes;
}

void FaultyFs::Truncate(const std::string& file, uint64_t bytes) {
  MutexLock lock(&mutex_);
  File& state = files_[file];
  state.size = bytes;
  state.synced = std::min(state.synced, bytes);
}

void FaultyFs::MarkSynced(const std::string& file) {
  MutexLock lock(&mutex_);
  files_[file].synced = files_[file].size;
}

void FaultyFs::MarkFolderSynced(const std::string& folder) {
  const std::string plain = FolderOf(folder + "/x");  // without a slash at the end
  MutexLock lock(&mutex_);
  for (auto& [name, state] : files_) state.folder_synced |= FolderOf(name) == plain;
}

void FaultyFs::LoseUnsynced(uint64_t seed, uint32_t round) {
  const PhiloxStream random(seed, RngPurpose::kMemoryDrop, round);
  MutexLock lock(&mutex_);
  uint64_t draws = 0;
  for (const auto& [name, state] : files_) {
    std::error_code error;
    const float part = random.Uniform(draws++);
    if (!state.folder_synced) {
      std::filesystem::remove(name, error);
    } else if (state.size > state.synced) {
      const auto lost = static_cast<double>(state.size - state.synced);
      const auto kept = static_cast<uint64_t>(lost * static_cast<double>(part));
      std::filesystem::resize_file(name, state.synced + kept, error);
    }
  }
  files_.clear();
  mode_ = FaultMode::kNone;
  until_power_off_ = -1;
}

IOStatus FaultyFs::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                   std::unique_ptr<rocksdb::FSWritableFile>* file,
                                   IODebugContext* debug) {
  IOStatus status = Check(false);
  if (!status.ok()) return status;
  std::unique_ptr<rocksdb::FSWritableFile> inner;
  status = target()->NewWritableFile(name, options, &inner, debug);
  if (!status.ok()) return status;
  {
    MutexLock lock(&mutex_);
    files_[name] = File();
  }
  *file = std::make_unique<WrittenFile>(std::move(inner), name, this);
  return status;
}

IOStatus FaultyFs::NewDirectory(const std::string& name, const IOOptions& options,
                                std::unique_ptr<rocksdb::FSDirectory>* folder,
                                IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> inner;
  const IOStatus status = target()->NewDirectory(name, options, &inner, debug);
  if (status.ok()) *folder = std::make_unique<SyncedFolder>(std::move(inner), name, this);
  return status;
}

IOStatus FaultyFs::DeleteFile(const std::string& name, const IOOptions& options,
                              IODebugContext* debug) {
  IOStatus status = Check(false);
  if (status.ok()) status = target()->DeleteFile(name, options, debug);
  if (!status.ok()) return status;
  MarkFolderSynced(FolderOf(name));
  MutexLock lock(&mutex_);
  files_.erase(name);
  return status;
}

IOStatus FaultyFs::RenameFile(const std::string& from, const std::string& to,
                              const IOOptions& options, IODebugContext* debug) {
  IOStatus status = Check(false);
  if (status.ok()) status = target()->RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  MarkFolderSynced(FolderOf(from));
  MutexLock lock(&mutex_);
  const auto moved = files_.find(from);
  if (moved == files_.end()) return status;
  files_[to] = moved->second;
  files_.erase(from);
  return status;
}

}  // namespace chimera
