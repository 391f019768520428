#include <algorithm>

#include "absl/strings/str_cat.h"
#include "grammar/schema_rules.h"

namespace chimera {

// "[", the items that have a place of their own, then any number of others with a comma before.
absl::Status SchemaRules::AddArray(const ArrayForm& array, uint32_t rule) {
  const uint32_t end = b_->end(rule), open = b_->AddPlace(rule);
  b_->Text(b_->start(rule), "[", open);
  uint32_t at = json_->AfterSpace(open);
  if (array.min == 0) b_->Text(at, "]", end);
  if (array.max == 0) return absl::OkStatus();
  const size_t own = std::min<size_t>(std::max<size_t>(array.first.size(), 1), array.max);
  for (size_t i = 0; i < own; ++i) {
    if (i > 0) {
      const uint32_t comma = b_->AddPlace(rule);
      b_->Text(at, ",", comma);
      at = json_->AfterSpace(comma);
    }
    const uint32_t behind = b_->AddPlace(rule);
    b_->Call(at, Value(array.At(i)), behind);
    at = json_->AfterSpace(behind);
    if (i + 1 >= array.min && i + 1 < own) b_->Text(at, "]", end);
  }
  const auto count = static_cast<uint32_t>(own);
  const uint32_t max = array.max == kUnbounded ? kUnbounded : array.max - count;
  const uint32_t last = b_->AddPlace(rule);
  if (max == 0 || array.At(own) == kNothing) {
    if (array.min <= count) b_->Empty(at, last);
  } else {
    const uint32_t more = b_->AddRule(absl::StrCat(b_->name(rule), " item"));
    const uint32_t comma = b_->AddPlace(more), behind = b_->AddPlace(more);
    b_->Text(b_->start(more), ",", comma);
    b_->Call(json_->AfterSpace(comma), Value(array.At(own)), behind);
    b_->Empty(json_->AfterSpace(behind), b_->end(more));
    b_->Repeat(at, more, array.min - std::min(array.min, count), max, last);
  }
  b_->Text(last, "]", end);
  return absl::OkStatus();
}

}  // namespace chimera
