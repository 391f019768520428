// What goes into a Memory and comes out of it, and the bounds of every field. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hdc/hypervector.h"

namespace chimera {

inline constexpr size_t kUserIdBytesMax = 64;
inline constexpr size_t kFactTextBytesMax = 16384;
inline constexpr size_t kFactAboutBytesMax = 256;
inline constexpr int kRecallFactsMax = 64;
inline constexpr size_t kFactIdDigits = 16;
// Of one call: facts, uses, ids, relations or records.
inline constexpr size_t kItemsPerCallMax = 256;
inline constexpr size_t kQueriesPerCallMax = 64;
inline constexpr size_t kRelationNameBytesMax = 256;
inline constexpr int kRelatedMax = 1024;
inline constexpr size_t kRecordBytesMax = 4096;
inline constexpr int kScanMax = 1024;  // entries of one page of ListFacts or ScanRecords
inline constexpr size_t kSectionBytesMax = 65536;
inline constexpr size_t kSectionNameBytesMax = 32;
inline constexpr size_t kSectionsPerUserMax = 32;
inline constexpr size_t kImportLineBytesMax = 131072;   // without the line end
inline constexpr size_t kImportCallBytesMax = 4194304;  // lines of one Import call
inline constexpr int kImportRefusedListed = 64;

// A recalled fact is uncertain below either of these (RecalledFact::uncertain). Unrelated texts
// have a similarity of 0 +- 0.011 (one sigma); 0.1 is nine of those.
inline constexpr float kCertainWeightMin = 0.5f;
inline constexpr float kCertainSimilarityMin = 0.1f;

// Of the tags of a fact: the machine wrote it down by itself (memory/evolution.h). The store's own;
// a client may not set it.
inline constexpr uint32_t kEvolvedTag = uint32_t{1} << 31;

// Who said it, which is also how long a crash may threaten it.
enum class Source : uint8_t {
  kUser = 1,      // said by the user: pinned, wins conflicts, on disk before the call returns
  kInferred = 2,  // concluded by the machine: on disk within the group commit's bound, or Sync
};

struct NewFact {
  std::string text;  // UTF-8, 1..16,384 bytes
  // What it is a statement about, as the caller names it ("home address"); UTF-8, at most 256
  // bytes. A user has one fact for one non-empty `about`: see Memory::Remember.
  std::string about;
  Source source = Source::kUser;
  float weight = 1;   // usefulness, -1..1
  uint32_t tags = 0;  // classes, a bit set whose meaning is the caller's
};

struct RememberedFact {
  std::string fact_id;        // 16 lower-case hex digits: see FactIdOf
  bool created = false;       // false when the fact was there already, or was overruled
  std::string superseded_id;  // the fact about the same that this one replaced, or empty
  bool overruled = false;     // inferred against a user's fact: not kept, fact_id is the user's
};

struct RecallOptions {
  int k = 8;                   // 1..64, for each query
  float similarity_min = -1;   // facts below are left out
  uint32_t tags_any = 0;       // 0: all; otherwise facts with at least one of these bits
  bool with_sketches = false;  // fill RecalledFact::sketch
};

struct RecalledFact {
  std::string fact_id;
  std::string text;
  float similarity = 0;    // 1 - 2 * hamming / 8192, in [-1, 1]
  int64_t created_ms = 0;  // since 1970, when it was first remembered
  std::string about;
  Source source = Source::kUser;
  float weight = 0;
  uint64_t uses = 0;
  uint32_t tags = 0;
  // Say so when asked (FEATURES H8): inferred with a weight below kCertainWeightMin, or a
  // similarity below kCertainSimilarityMin.
  bool uncertain = false;
  // What using it is worth should be measured and told (Memory::Learn).
  bool evaluate = false;
  std::optional<HyperVector> sketch;
};

// What one use of a fact was worth: uses += 1, weight <- 0.9 weight + 0.1 clip(benefit, -1, 1)
// (math-inference-training C.6).
struct FactUse {
  std::string fact_id;
  float benefit = 0;  // finite
};

struct FactWeight {
  uint64_t id = 0;
  float weight = 0;  // -1..1
};

// A fact without its text, for policies and lists.
struct FactInfo {
  uint64_t id = 0;
  Source source = Source::kUser;
  float weight = 0;
  uint64_t uses = 0;
  uint32_t tags = 0;
  int64_t created_ms = 0;
  int64_t text_bytes = 0;
};

// "Ada" "lives in" "Paris". Names are UTF-8, 1..256 bytes.
struct Relation {
  std::string subject;
  std::string predicate;
  std::string object;
  float weight = 1;  // -1..1

  bool operator==(const Relation&) const = default;
};

// An empty name matches every name.
struct RelationPattern {
  std::string subject;
  std::string predicate;
  std::string object;
};

// Classes of records whose bytes mean something to their owner only.
enum class RecordClass : uint8_t {
  kCase = 1,       // episodic cases: at most 4,096 of a user (math-inference-training D.4)
  kGuideline = 2,  // at most 256 of a user (D.3)
};
inline constexpr int64_t kCasesPerUserMax = 4096;
inline constexpr int64_t kGuidelinesPerUserMax = 256;

struct MemoryRecord {
  uint64_t id = 0;    // chosen by the owner
  std::string bytes;  // 1..4,096

  bool operator==(const MemoryRecord&) const = default;
};

// A named piece of a user's state ("entities", "safety").
struct MemorySection {
  uint64_t epoch = 0;
  std::string bytes;  // at most 65,536
};

struct RefusedLine {
  int64_t line = 0;    // counted from ImportLines::first_line
  std::string reason;  // never holds the line's text
};

struct ImportReport {
  int64_t imported = 0;  // lines; a line that changed nothing counts
  int64_t refused = 0;
  std::vector<RefusedLine> refused_lines;  // the first 64
};

struct BackupReport {
  uint32_t backup_id = 0;    // counted up in the folder
  int64_t bytes = 0;         // of this backup, files shared with earlier ones included
  int64_t backups_kept = 0;  // in the folder, this one included
};

// Of one user, or of the whole store; limits are those of a user or of the store.
struct MemoryStats {
  int64_t facts = 0;
  int64_t users = 0;  // with anything stored; 0 or 1 for one user
  int64_t text_bytes = 0;
  int64_t facts_max = 0;
  int64_t corrupt_records_skipped = 0;  // of the whole store, since it was opened
  int64_t user_facts = 0;               // said by the user; the others are inferred
  int64_t relations = 0;
  int64_t relations_max = 0;
  int64_t cases = 0;
  int64_t guidelines = 0;
  int64_t sections = 0;
  int64_t entries = 0;  // facts, relations, relation names, cases, guidelines and sections
  int64_t entries_max = 0;
  int64_t bytes = 0;  // of keys and values, before RocksDB's own overhead
  int64_t bytes_max = 0;
};

}  // namespace chimera
