#include "memory/usage_merge.h"

#include <rocksdb/merge_operator.h>

#include <vector>

#include "memory/fact_record.h"
#include "memory/record_codec.h"

namespace chimera {
namespace {

std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// False when the operand is damaged.
bool AppendBenefits(std::string_view key, std::string_view operand, std::vector<float>* benefits) {
  const auto body = Unseal(Family::kUsage, key, operand, 1);
  if (!body.ok() || body->size() % 4 != 1) return false;
  for (size_t at = 1; at < body->size(); at += 4) benefits->push_back(GetFloat(*body, at));
  return true;
}

class UsageMerge final : public rocksdb::MergeOperator {
 public:
  const char* Name() const override { return "chimera.usage.1"; }

  bool FullMergeV2(const MergeOperationInput& in, MergeOperationOutput* out) const override {
    const std::string_view key = ToView(in.key);
    UsageRecord usage;  // of a fact that is gone when there is no value: nothing reads it
    if (in.existing_value != nullptr) {
      const auto stored = DecodeUsage(key, ToView(*in.existing_value));
      if (!stored.ok()) return false;
      usage = *stored;
    }
    std::vector<float> benefits;
    for (const rocksdb::Slice& operand : in.operand_list) {
      if (!AppendBenefits(key, ToView(operand), &benefits)) return false;
    }
    for (const float benefit : benefits) CountUse(benefit, &usage);
    out->new_value = EncodeUsage(key, usage);
    return true;
  }

  bool PartialMerge(const rocksdb::Slice& key, const rocksdb::Slice& left,
                    const rocksdb::Slice& right, std::string* value,
                    rocksdb::Logger*) const override {
    std::vector<float> benefits;
    if (!AppendBenefits(ToView(key), ToView(left), &benefits) ||
        !AppendBenefits(ToView(key), ToView(right), &benefits)) {
      return false;
    }
    *value = EncodeUses(ToView(key), benefits);
    return true;
  }
};

}  // namespace

std::string EncodeUses(std::string_view key, std::span<const float> benefits) {
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  for (const float benefit : benefits) PutFloat(benefit, &body);
  return Seal(Family::kUsage, key, std::move(body));
}

std::shared_ptr<rocksdb::MergeOperator> UsageMergeOperator() {
  return std::make_shared<UsageMerge>();
}

}  // namespace chimera
