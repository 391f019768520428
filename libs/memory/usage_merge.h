// Uses of facts are counted without reading: a RocksDB merge operator for family usage. An operand
// is a sealed list of benefits, oldest first; the merge applies CountUse one after another, so the
// result is that of reading, counting and writing.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace rocksdb {
class MergeOperator;
}  // namespace rocksdb

namespace chimera {

std::string EncodeUses(std::string_view key, std::span<const float> benefits);

// A damaged value or operand fails the read with corruption. Thread-safe.
std::shared_ptr<rocksdb::MergeOperator> UsageMergeOperator();

}  // namespace chimera
