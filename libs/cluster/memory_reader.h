// A user's memory for sessions: what is recalled for a prompt, and the reads of the text as it
// grows.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/executor.h"
#include "decode/memory_view.h"
#include "memory/memory.h"

namespace chimera {

inline constexpr int kContextFacts = 4;             // for a prompt, at most
inline constexpr size_t kContextBytesMax = 2048;    // of them together
inline constexpr size_t kContextQueryBytes = 2048;  // of the prompt's end, to recall with
inline constexpr int kMemoryReadWaitMs = 1000;      // for a read that is due

// What is known of a user that a prompt is about, best first. Blocks as long as the memory does.
absl::StatusOr<std::vector<RecalledText>> RecallForPrompt(Memory* memory, const std::string& user,
                                                          std::string_view prompt);

// The prompt behind the facts it is about, the nearest last: those that are certain, as long as
// they fit into kContextBytesMax. The prompt itself when there are none. All in one paragraph,
// which the shipped model learns from best (docs/experiments.md).
std::string PromptWithFacts(const std::string& prompt, const std::vector<RecalledText>& facts);

// Reads run on the executor, one fact each; Collect waits kMemoryReadWaitMs at most. Both are
// borrowed, and the memory must outlive the executor's tasks. Thread-compatible.
std::unique_ptr<MemoryView> MakeMemoryReader(Memory* memory, Executor* executor, std::string user);

}  // namespace chimera
