// When a session reads its user's memory (DESIGN D20; read_at_every_knot of the configuration): a
// read is issued at every position p divisible by 16, of the text before p, and used from p + 32
// on, or missed. What was recalled acts in two ways: its best fact pulls on the span knot as its
// memory field, and where the text repeats at least kCopyTokensMin tokens of a fact, the fact's
// next token gets a weight, as the continuous caches of language models do (Grave et al. 2017).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "decode/knot.h"
#include "decode/memory_view.h"
#include "text/tokenizer.h"

namespace chimera {

inline constexpr int64_t kKnotPositions = 16;       // fields change at multiples of it only
inline constexpr int64_t kMemoryLagPositions = 32;  // from asking to using
inline constexpr size_t kMemoryTailBytes = 512;     // of the text a read is asked with
inline constexpr size_t kCopyTokensMin = 2;         // repeated before a fact is followed
inline constexpr size_t kCopyTokensMax = 8;         // beyond, the weight grows no more
inline constexpr float kCopyWeight = 0.5f;          // of the next token, a repeated token

// A read that was due.
struct MemoryRead {
  int64_t position = 0;               // from which it counts: issued 32 positions before
  std::vector<std::string> fact_ids;  // best first
  std::string missed;                 // why there is no answer; empty: there is one
};

struct MemoryCounts {
  int64_t used = 0;    // reads that came in
  int64_t missed = 0;  // reads that did not
};

// Thread-compatible.
class MemoryTrack {
 public:
  // first: what was recalled for the prompt; in use from position 0 on.
  MemoryTrack(std::unique_ptr<MemoryView> view, std::shared_ptr<const Tokenizer> tokenizer,
              const std::vector<RecalledText>& first);

  // Tokens that were run.
  void Ran(std::span<const int32_t> tokens);
  // Weights for the token that follows these, which come after all that was run.
  void Weigh(std::span<const int32_t> tokens, VerifyNode* node) const;
  // Before a pass that begins at a position and comes after the prompt; nothing happens unless the
  // position is divisible by 16. Waits for the read that is due and adds it to reads.
  void Turn(int64_t position, std::vector<MemoryRead>* reads);
  // Of passes from here on.
  const SketchFieldSet& fields() const { return fields_; }
  const MemoryCounts& counts() const { return counts_; }
  // The most tokens that a pass from here may run without crossing a multiple of 16.
  static int64_t Room(int64_t position) { return kKnotPositions - position % kKnotPositions; }

 private:
  void Use(const std::vector<RecalledText>& found);

  std::unique_ptr<MemoryView> view_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<std::vector<int32_t>> facts_;  // tokens of what was recalled, best first
  std::vector<int32_t> last_;                // kCopyTokensMax tokens that were run
  std::string tail_;
  std::deque<int64_t> issued_;  // positions whose reads are not due yet, oldest first
  SketchFieldSet fields_;
  MemoryCounts counts_;
};

}  // namespace chimera
