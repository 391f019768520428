// How RocksDB is set up for a memory store. Every figure here is a bound on memory or files.
#pragma once

#include <rocksdb/options.h>
#include <rocksdb/statistics.h>

#include <memory>

#include "memory/record_codec.h"

namespace chimera {

std::shared_ptr<rocksdb::Statistics> StoreStatistics();
// env may be null: this machine's files.
rocksdb::Options StoreDatabaseOptions(rocksdb::Env* env,
                                      std::shared_ptr<rocksdb::Statistics> statistics);
rocksdb::ColumnFamilyOptions StoreFamilyOptions(const rocksdb::Options& options, Family family);

}  // namespace chimera
