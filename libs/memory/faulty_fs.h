// Test help: a file system below RocksDB that fails on demand. A power cut loses what was not
// synced: of every file the bytes after its last sync (but for a random part of them, so that
// records tear), and files whose folder was not synced since they were made. Changes of folders
// keep their order, as in a journal: renames and deletions take effect at once, and so do the
// files made before them. Not part of the library.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace chimera {

enum class FaultMode { kNone, kNoSpace, kReadOnly, kPowerOff };

// Thread-safe.
class FaultyFs final : public rocksdb::FileSystemWrapper {
 public:
  FaultyFs();

  const char* Name() const override { return "FaultyFs"; }
  void SetMode(FaultMode mode);
  // The power goes off at the n-th write, sync, rename or deletion from now on.
  void PowerOffAfter(int64_t operations);
  bool powered_off();
  // Of all files: what the disk holds after the power cut. The database must be closed. Afterwards
  // the power is on.
  void LoseUnsynced(uint64_t seed, uint32_t round);

  // OK, or the error of an operation that changes the disk.
  rocksdb::IOStatus Check(bool takes_space);
  void Grow(const std::string& file, uint64_t bytes);
  void Truncate(const std::string& file, uint64_t bytes);
  void MarkSynced(const std::string& file);
  void MarkFolderSynced(const std::string& folder);

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& name, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* folder,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  struct File {
    uint64_t size = 0;
    uint64_t synced = 0;
    bool folder_synced = false;
  };

  Mutex mutex_;
  FaultMode mode_ ABSL_GUARDED_BY(mutex_) = FaultMode::kNone;
  int64_t until_power_off_ ABSL_GUARDED_BY(mutex_) = -1;  // -1: never
  std::map<std::string, File> files_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
