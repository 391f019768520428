// Encoding and decoding of text that arrives in chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "text/tokenizer.h"

namespace chimera {

// However the text is cut into chunks, the ids are those of Tokenizer::Encode on the whole. Holds
// back the last, still open piece: usually a word. Thread-compatible.
class StreamingEncoder {
 public:
  static constexpr size_t kHeldBytesMax = size_t{1} << 20;

  // held_bytes_max bounds what may be held back.
  explicit StreamingEncoder(std::shared_ptr<const Tokenizer> tokenizer,
                            size_t held_bytes_max = kHeldBytesMax)
      : tokenizer_(std::move(tokenizer)), held_bytes_max_(held_bytes_max) {}

  // Appends what is certain. RESOURCE_EXHAUSTED, from then on, when one open piece is longer than
  // held_bytes_max: cutting it would change the ids. A chunk itself may have any size.
  absl::Status Push(std::string_view bytes, std::vector<int32_t>* ids);
  // Appends the rest and starts anew.
  absl::Status Finish(std::vector<int32_t>* ids);

  size_t held_bytes() const { return held_.size(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  size_t held_bytes_max_;
  std::string held_;
  size_t retry_bytes_ = 0;  // scan again when this much is held: an open piece is read O(1) times
  bool overflowed_ = false;
};

// Ids to UTF-8 text: Push returns what is complete, holding back at most 3 bytes of an unfinished
// character. Bytes that are no UTF-8 come out as U+FFFD, one per maximal ill-formed subpart, so the
// concatenation is the same whatever the chunks. Specials are silent. Thread-compatible.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(std::shared_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}

  std::string Push(int32_t id);
  // For a source of bytes other than ids.
  std::string PushBytes(std::string_view bytes);
  // The rest, U+FFFD if a character was left unfinished; starts anew.
  std::string Finish();

  size_t held_bytes() const { return held_.size(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string held_;
};

}  // namespace chimera
