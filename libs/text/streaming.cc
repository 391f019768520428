#include "text/streaming.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "text/utf8.h"

namespace chimera {
namespace {

// Below this, an open piece is scanned again on every push.
constexpr size_t kRescanBytes = 256;

}  // namespace

absl::Status StreamingEncoder::Push(std::string_view bytes, std::vector<int32_t>* ids) {
  if (overflowed_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("streaming encoder: a piece of text exceeds ", held_bytes_max_, " bytes"));
  }
  held_ += bytes;
  if (held_.size() < retry_bytes_ && held_.size() <= held_bytes_max_) return absl::OkStatus();
  held_.erase(0, tokenizer_->EncodeStable(held_, ids));
  retry_bytes_ = held_.size() < kRescanBytes ? 0 : 2 * held_.size();
  if (held_.size() > held_bytes_max_) {
    overflowed_ = true;
    held_ = std::string();
    return Push({}, ids);
  }
  return absl::OkStatus();
}

absl::Status StreamingEncoder::Finish(std::vector<int32_t>* ids) {
  const absl::Status status = overflowed_ ? Push({}, ids) : absl::OkStatus();
  tokenizer_->EncodeAppend(held_, ids);
  held_.clear();
  retry_bytes_ = 0;
  overflowed_ = false;
  return status;
}

std::string StreamingDecoder::Push(int32_t id) { return PushBytes(tokenizer_->TokenBytes(id)); }

std::string StreamingDecoder::PushBytes(std::string_view bytes) {
  held_ += bytes;
  const size_t complete = held_.size() - TruncatedUtf8Suffix(held_);
  std::string text;
  AppendUtf8Replaced(std::string_view(held_).substr(0, complete), &text);
  held_.erase(0, complete);
  return text;
}

std::string StreamingDecoder::Finish() {
  std::string text;
  AppendUtf8Replaced(held_, &text);
  held_.clear();
  return text;
}

}  // namespace chimera
